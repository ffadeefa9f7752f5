//! Load over loopback: this gateway, Debian's Pushgateway and a null server side by side, in turns.
//! `benches/load/run` builds what it needs and starts it.
//!
//! ```text
//! load run [--quick] [--own] [--only WORD]… [--write docs/performance.md]
//! load groups [--write docs/pushgateway-mode.md]
//! load null PORT
//! ```
//!
//! `--quick` takes fewer and shorter rounds and less data, `--own` leaves the Pushgateway out, and
//! `--only` takes only the rows whose names contain a word. Nothing but the ratios to the null server
//! has a meaning beyond the machine.

#[path = "../common/mod.rs"]
mod common;

mod client;
mod groups;
mod null;
mod report;
mod rows;
mod shapes;
mod target;

use std::io;
use std::time::Duration;

use report::Report;

/// What to measure, and for how long.
#[derive(Debug)]
struct Plan {
    rounds: usize,
    segment: Duration,
    scrapes: u64,
    /// How many series lines are stored at the end of the row "growth".
    lines: u64,
    /// Whether to measure the Pushgateway, too.
    others: bool,
    only: Vec<String>,
}

impl Plan {
    fn wants(&self, row: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|word| row.contains(&**word))
    }
}

#[expect(clippy::print_stdout, reason = "the tables are what it is for")]
fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    match arguments.next().as_deref() {
        Some("null") => {
            let port = arguments.next().and_then(|port| port.parse().ok());
            null::serve(port.ok_or_else(|| io::Error::other("null PORT"))?)
        }
        Some("groups") => {
            let table = groups::measure()?;
            println!("{table}");
            match (arguments.next().as_deref(), arguments.next()) {
                (Some("--write"), Some(document)) => report::put(&document, &table),
                _ => Ok(()),
            }
        }
        Some("run") => {
            let mut plan = Plan {
                rounds: 5,
                segment: Duration::from_millis(1000),
                scrapes: 5,
                lines: 1_000_000,
                others: true,
                only: Vec::new(),
            };
            let mut document = None;
            while let Some(argument) = arguments.next() {
                match &*argument {
                    "--quick" => {
                        plan.rounds = 3;
                        plan.segment = Duration::from_millis(500);
                        plan.scrapes = 2;
                        plan.lines = 200_000;
                    }
                    "--own" => plan.others = false,
                    "--lines" => {
                        plan.lines =
                            arguments.next().and_then(|n| n.parse().ok()).unwrap_or(plan.lines)
                    }
                    "--only" => plan.only.extend(arguments.next()),
                    "--write" => document = arguments.next(),
                    other => return Err(io::Error::other(format!("{other}: see benches/load"))),
                }
            }
            let report = measure(&plan)?;
            println!("{}", report.markdown());
            document.map_or(Ok(()), |document| report.write(&document))
        }
        // `cargo bench` runs all benchmarks, but this one needs an explicit command.
        _ => Ok(()),
    }
}

fn measure(plan: &Plan) -> io::Result<Report> {
    let mut report = Report::default();
    rows::pushes(plan, &mut report)?;
    if let Some(grown) = rows::growth(plan, &mut report)? {
        rows::scrapes(plan, &grown, &mut report)?;
        rows::scrapes_felt(plan, &grown, &mut report)?;
    }
    Ok(report)
}

fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
