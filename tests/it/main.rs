//! The gateway from outside: the real binary, its HTTP surface, its command line, its log.

mod harness;
mod push;
