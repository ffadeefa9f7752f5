//! Tallygate: an aggregating push gateway for Prometheus.

pub mod format;
pub mod merge;
pub mod model;
pub mod store;
