//! Tallygate: an aggregating push gateway for Prometheus.

pub mod app;
pub mod auth;
pub mod cli;
pub mod clock;
pub mod config;
pub mod delivery;
pub mod format;
pub mod gateway;
pub mod groups;
pub mod http;
pub mod import;
pub mod lifecycle;
pub mod merge;
pub mod model;
pub mod persistence;
pub mod random;
pub mod rules;
pub mod store;
pub mod striped;
pub mod telemetry;
pub mod units;

/// The revision this binary was built from, if the build provides it.
pub const REVISION: &str = match option_env!("TALLYGATE_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};
