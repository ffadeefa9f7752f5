//! `--mode=pushgateway` from outside, mostly compared with the real Pushgateway.

mod browser;
mod clients;
mod corpus;
mod differential;
mod generate;
mod import;
mod lasting;
mod prometheus;
mod real;
mod surface;

use crate::harness::{Gateway, Start, flag};

fn pushgateway() -> Start {
    flag("--mode=pushgateway")
}

/// A gateway with everything turned on.
fn start() -> Gateway {
    pushgateway().flag("--web.enable-admin-api").flag("--web.enable-lifecycle").run()
}
