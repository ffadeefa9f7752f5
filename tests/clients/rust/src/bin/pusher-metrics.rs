//! Pushes with `metrics-exporter-prometheus`: pusher-metrics BASE_URL global WORKER_ID PUSHES (see ../../../curl.sh).
//!
//! This exporter pushes its whole registry at every interval, so all it can do is one push of what grew over PUSHES
//! rounds. Each round adds 1 to `e2e_items_total{kind="a"}` and 2 to `{kind="b"}` (its counters are integers), makes
//! the four observations of `e2e_latency_seconds` and sets `e2e_last_value`.

use std::{
    env,
    io::{BufRead, BufReader, copy},
    net::{TcpListener, TcpStream},
    process::ExitCode,
    thread,
    time::Duration,
};

use metrics_exporter_prometheus::PrometheusBuilder;

type Error = Box<dyn std::error::Error>;

/// Takes one push, hands it on to the gateway and returns the status line of the answer.
///
/// The exporter tells nobody whether a push was acknowledged, and would push again after the interval. Here it never
/// sees the answer, so there is no second push.
fn relay_once(listener: &TcpListener, gateway: &str) -> Result<String, Error> {
    let (mut exporter, _) = listener.accept()?;
    let mut upstream = TcpStream::connect(gateway)?;
    upstream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let answer = BufReader::new(upstream.try_clone()?);
    thread::spawn(move || copy(&mut exporter, &mut upstream));
    Ok(answer.lines().next().ok_or("no answer")??)
}

fn record(worker: u32, rounds: u32) {
    for i in 0..rounds {
        metrics::counter!("e2e_items_total", "kind" => "a").increment(1);
        metrics::counter!("e2e_items_total", "kind" => "b").increment(2);
        for seconds in [0.05, 0.3, 0.7, 2.0] {
            metrics::histogram!("e2e_latency_seconds").record(seconds);
        }
        metrics::gauge!("e2e_last_value").set(f64::from(worker * 1000 + i));
    }
}

fn push(base: &str, worker: u32, rounds: u32) -> Result<(), Error> {
    // It builds a TLS connector for plain http, too, and panics where no provider was chosen.
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| "a TLS provider is already installed")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let endpoint = format!("http://{}/metrics/job/rust-metrics_batch", listener.local_addr()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let guard = runtime.enter(); // build() wants it
    let (recorder, exporter) = PrometheusBuilder::new()
        .set_buckets(&[0.1, 0.5, 1.0])?
        .with_push_gateway(endpoint, Duration::from_millis(10), None, None, true)?
        .build()?;
    metrics::with_local_recorder(&recorder, || record(worker, rounds));

    drop(guard);
    thread::spawn(move || runtime.block_on(exporter));
    let gateway = base.trim_start_matches("http://").trim_end_matches('/');
    let status = relay_once(&listener, gateway)?;
    if !status.starts_with("HTTP/1.1 2") {
        return Err(status.into());
    }
    Ok(())
}

fn main() -> ExitCode {
    let args: Vec<String> = env::args().collect();
    let [_, base, scenario, worker, pushes] = args.as_slice() else {
        eprintln!("usage: pusher-metrics BASE_URL SCENARIO WORKER_ID PUSHES");
        return ExitCode::from(2);
    };
    if scenario != "global" {
        println!("unsupported");
        return ExitCode::from(3);
    }
    let worker = worker.parse().expect("WORKER_ID is a number");
    let rounds = pushes.parse().expect("PUSHES is a number");
    match push(base, worker, rounds) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rust-metrics {scenario}: {error}");
            ExitCode::FAILURE
        }
    }
}
