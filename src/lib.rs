//! Tallygate: an aggregating push gateway for Prometheus.

pub mod format;
pub mod model;
