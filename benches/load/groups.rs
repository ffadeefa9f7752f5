//! The cost of a push and a scrape in pushgateway mode by the number of stored groups, compared with
//! Debian's Pushgateway with its consistency check: the table of docs/pushgateway-mode.md.

use std::fmt::Write as _;
use std::io;
use std::time::{Duration, Instant};

use crate::client::{self, Load};
use crate::report::{machine, note};
use crate::shapes::{self, Form};
use crate::target::{Kind, Target};

/// How many groups are stored, and how many pushes the Pushgateway gets per turn: it checks each
/// against everything stored.
const SIZES: [(u64, u64); 4] = [(1, 300), (1_000, 20), (10_000, 3), (50_000, 1)];
/// How many pushes our gateway gets per turn.
const OWN: u64 = 1000;
const TURNS: usize = 3;

const fn load(connections: usize, count: u64) -> Load {
    let time = Duration::from_secs(600);
    Load { connections, fresh: false, from: 0, count, time, rate: None }
}

/// The table, in Markdown.
///
/// # Errors
/// If a server does not start, or refuses something.
pub(crate) fn measure() -> io::Result<String> {
    let mut out = String::from(
        "| groups | server | CPU per push | p50 of a push | pushes | a scrape | CPU of it |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for (groups, pushes) in SIZES {
        note(&format!("{groups} groups"));
        let write = shapes::push(&shapes::small(), Form::Text, groups, false);
        let fill = |address| client::run(address, load(8, groups), &write).map(|_| ());
        let own = Target::start(Kind::Groups)?;
        fill(own.address)?;
        // This would take hours with the check on.
        let real = Target::start(Kind::PushgatewayUnchecked)?;
        fill(real.address)?;
        let servers = [(own, OWN), (real.with_check()?, pushes)];
        let mut measured = [(0, Vec::new()), (0, Vec::new())];
        for _ in 0..TURNS {
            for ((target, count), (cpu, latencies)) in servers.iter().zip(&mut measured) {
                let before = target.cpu();
                let outcome = client::run(target.address, load(1, *count), &write)?;
                *cpu += target.cpu().since(&before);
                latencies.extend(outcome.latencies);
            }
        }
        for ((target, _), (cpu, mut latencies)) in servers.iter().zip(measured) {
            let (before, begun) = (target.cpu(), Instant::now());
            client::fetch(target.address, &shapes::scrape(false), false)?;
            let scrape_ms = begun.elapsed().as_secs_f64() * 1e3;
            let scrape_cpu_ms = target.cpu().since(&before) as f64 / 1e6;
            latencies.sort_unstable();
            let count = latencies.len();
            let _ = writeln!(
                out,
                "| {groups} | {} | {:.3} ms | {:.2} ms | {count} | {scrape_ms:.1} ms | {scrape_cpu_ms:.1} ms |",
                target.kind.word(),
                cpu as f64 / 1e6 / count as f64,
                f64::from(latencies[count / 2]) / 1e3,
            );
        }
    }
    Ok(format!("{}\n\n{out}", machine()))
}
