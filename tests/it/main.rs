//! The gateway from outside: the real binary, its HTTP surface, its command line, its log. One file
//! per verb or promise.

mod api;
mod delete;
mod formats;
mod harness;
mod hazards;
mod lifecycle;
mod merge;
mod push;
mod refuse;
mod rules;
mod scrape;
mod ttl;
