//! The gateway from outside: the real binary, its HTTP surface, its command line, its log. One file
//! per verb or promise.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests fail as tests do")]

mod api;
mod auth;
mod clients;
mod config;
mod cors;
mod crash;
mod delete;
mod first_value;
mod formats;
mod full_disk;
mod harness;
mod hazards;
mod keys;
mod lifecycle;
mod limits;
mod log;
mod merge;
mod metrics;
mod oracles;
mod prometheus;
mod prometheus_native;
mod push;
mod push_tool;
mod pushgateway;
mod refuse;
mod round_trip;
mod routes;
mod rules;
mod scrape;
mod store;
mod storm;
mod syncs;
mod tls;
mod transport;
mod ttl;
mod web_config;
