//! The gateway from outside: the real binary, its HTTP surface, its command line, its log. One file
//! per verb or promise.

mod api;
mod delete;
mod formats;
mod harness;
mod hazards;
mod lifecycle;
mod merge;
mod oracles;
mod prometheus_native;
mod push;
mod refuse;
mod round_trip;
mod rules;
mod scrape;
mod ttl;
