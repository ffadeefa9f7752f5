//! The gateway from outside: the real binary, its HTTP surface, its command line, its log. One file
//! per verb or promise.

mod formats;
mod harness;
mod hazards;
mod merge;
mod oracles;
mod prometheus_native;
mod push;
mod refuse;
mod round_trip;
