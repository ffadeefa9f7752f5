//! Pushes with the `prometheus` crate: pusher BASE_URL SCENARIO WORKER_ID PUSHES (see ../../../curl.sh).

use std::{collections::HashMap, env, process::ExitCode};

use prometheus::{CounterVec, Gauge, Histogram, HistogramOpts, Opts, Registry, Result};

/// There is no summary, no delete and no encoding in this crate, its format is always delimited protobuf, and it
/// refuses a grouping label with a slash in its value.
const SUPPORTED: [&str; 5] = ["counter", "histogram", "gauge", "put", "protobuf"];

fn push(base: &str, scenario: &str, worker: u32, i: u32) -> Result<()> {
    // A push holds what happened since the last one, nothing older.
    let registry = Registry::new();
    match scenario {
        "histogram" => {
            let options =
                HistogramOpts::new("e2e_latency_seconds", "Latency.").buckets(vec![0.1, 0.5, 1.0]);
            let histogram = Histogram::with_opts(options)?;
            registry.register(Box::new(histogram.clone()))?;
            [0.05, 0.3, 0.7, 2.0].into_iter().for_each(|seconds| histogram.observe(seconds));
        }
        "gauge" => {
            let gauge = Gauge::new("e2e_last_value", "Last value.")?;
            registry.register(Box::new(gauge.clone()))?;
            gauge.set(f64::from(worker * 1000 + i));
        }
        _ => {
            let counter = CounterVec::new(Opts::new("e2e_items_total", "Items."), &["kind"])?;
            registry.register(Box::new(counter.clone()))?;
            counter.with_label_values(&["a"]).inc();
            counter.with_label_values(&["b"]).inc_by(2.5);
        }
    }
    let send =
        if scenario == "put" { prometheus::push_metrics } else { prometheus::push_add_metrics };
    send("rust_batch", HashMap::new(), base, registry.gather(), None)
}

fn main() -> ExitCode {
    let args: Vec<String> = env::args().collect();
    let [_, base, scenario, worker, pushes] = args.as_slice() else {
        eprintln!("usage: pusher BASE_URL SCENARIO WORKER_ID PUSHES");
        return ExitCode::from(2);
    };
    if !SUPPORTED.contains(&scenario.as_str()) {
        println!("unsupported");
        return ExitCode::from(3);
    }
    let worker = worker.parse().expect("WORKER_ID is a number");
    for i in 0..pushes.parse().expect("PUSHES is a number") {
        if let Err(error) = push(base, scenario, worker, i) {
            eprintln!("rust {scenario}: push {i}: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
