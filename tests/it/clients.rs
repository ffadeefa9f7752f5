//! Real client libraries, several processes at once: what they push adds up exactly.
//!
//! `tests/setup` installs them; their command line is described in `tests/clients/curl.sh`.

use std::collections::BTreeMap;
use std::process::Output;

use crate::harness::{Gateway, client, file, flag, start};

const WORKERS: u32 = 3;
const PUSHES: u32 = 4;
const TOTAL: f64 = (WORKERS * PUSHES) as f64;

/// Runs the client in several processes at once. Returns false if it does not support the scenario.
fn push(gateway: &Gateway, name: &str, scenario: &str) -> bool {
    let (base, pushes) = (gateway.url(""), PUSHES.to_string());
    let workers: Vec<_> = (0..WORKERS)
        .map(|worker| client(name, [&base, scenario, &worker.to_string(), &pushes]))
        .collect();
    let outputs: Vec<Output> =
        workers.into_iter().map(|worker| worker.wait_with_output().expect("it ends")).collect();
    let unsupported = outputs.iter().all(|output| output.status.code() == Some(3));
    for output in outputs.iter().filter(|_| !unsupported) {
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name} {scenario}: {:?} {errors}", output.status);
    }
    !unsupported
}

/// Samples by name and labels.
fn samples(gateway: &Gateway) -> BTreeMap<String, f64> {
    let text = gateway.pushed();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// All samples after the scenario.
fn expected(name: &str, scenario: &str) -> BTreeMap<String, f64> {
    let job = format!("job=\"{name}_batch\"");
    let items = [
        (format!("e2e_items_total{{{job},kind=\"a\"}}"), TOTAL),
        (format!("e2e_items_total{{{job},kind=\"b\"}}"), 2.5 * TOTAL),
    ];
    let latency = [
        (format!("e2e_latency_seconds_bucket{{{job},le=\"0.1\"}}"), TOTAL),
        (format!("e2e_latency_seconds_bucket{{{job},le=\"0.5\"}}"), 2.0 * TOTAL),
        (format!("e2e_latency_seconds_bucket{{{job},le=\"1\"}}"), 3.0 * TOTAL),
        (format!("e2e_latency_seconds_bucket{{{job},le=\"+Inf\"}}"), 4.0 * TOTAL),
        (format!("e2e_latency_seconds_count{{{job}}}"), 4.0 * TOTAL),
        // 0.05 + 0.3 + 0.7 + 2.0 is the double 3.05 in every language. The product is rounded once,
        // like an exact sum. Adding one by one would round each time, and end at 36.6.
        (format!("e2e_latency_seconds_sum{{{job}}}"), 3.05 * TOTAL),
    ];
    match scenario {
        "histogram" => latency.into(),
        "created" => latency.into_iter().chain(items).collect(),
        "summary" => [
            (format!("e2e_size_bytes_count{{{job}}}"), 2.0 * TOTAL),
            (format!("e2e_size_bytes_sum{{{job}}}"), 350.0 * TOTAL),
        ]
        .into(),
        "grouping" => [(format!("e2e_grouped_total{{{job},path=\"/a/b c\"}}"), TOTAL)].into(),
        _ => items.into(),
    }
}

const CLIENTS: [&str; 5] = ["curl", "go", "node", "python", "rust"];

/// Runs the scenario with every client. Returns those that support it.
#[track_caller]
fn check(scenario: &str) -> Vec<&'static str> {
    let mut able = Vec::new();
    for name in CLIENTS {
        let gateway = start();
        if !push(&gateway, name, scenario) {
            continue;
        }
        able.push(name);
        assert_eq!(samples(&gateway), expected(name, scenario), "{name} {scenario}");
        let accepted = gateway.sample("tallygate_pushes_total{outcome=\"accepted\"}");
        assert_eq!(accepted, TOTAL, "{name} {scenario}");
    }
    able
}

#[test]
fn counters() {
    assert_eq!(check("counter"), CLIENTS);
}

#[test]
fn counters_by_put() {
    assert_eq!(check("put"), CLIENTS);
}

#[test]
fn histograms() {
    assert_eq!(check("histogram"), CLIENTS);
}

#[test]
fn summaries() {
    assert_eq!(check("summary"), ["curl", "go", "node", "python"]);
}

/// The value `/a/b c` and an empty value, which each client writes in its own way.
#[test]
fn grouping_keys() {
    assert_eq!(check("grouping"), ["curl", "go", "node", "python"]);
}

#[test]
fn gzip() {
    assert_eq!(check("gzip"), ["curl", "node", "python"]);
}

#[test]
fn snappy() {
    assert_eq!(check("snappy"), ["python"]);
}

#[test]
fn formats() {
    assert_eq!(check("text"), ["curl", "go"]);
    assert_eq!(check("protobuf"), ["go", "rust"]);
    assert_eq!(check("openmetrics"), ["curl", "go", "node"]);
}

/// Start times must not be added up.
#[test]
fn start_times() {
    assert_eq!(check("created"), ["python"]);
}

/// The last push wins, from whichever process it is.
#[test]
fn gauges() {
    for name in CLIENTS {
        let gateway = start();
        assert!(push(&gateway, name, "gauge"), "{name}");
        let found = samples(&gateway);
        let (series, value) = found.first_key_value().unwrap();
        assert_eq!((series, found.len()), (&format!("e2e_last_value{{job=\"{name}_batch\"}}"), 1));
        let last = |worker: u32| f64::from(worker * 1000 + PUSHES - 1);
        assert!((0..WORKERS).any(|worker| last(worker) == *value), "{name}: {value}");
    }
}

/// With the rule `sum`, no gauge is lost, whatever their order.
#[test]
fn gauges_that_add_up() {
    let gateway = flag("--push.gauge=sum").run();
    assert!(push(&gateway, "python", "gauge"));
    let sum: u32 = (0..WORKERS).flat_map(|w| (0..PUSHES).map(move |i| w * 1000 + i)).sum();
    assert_eq!(gateway.sample("e2e_last_value{job=\"python_batch\"}"), f64::from(sum));
}

#[test]
fn deletions() {
    for name in ["curl", "go", "node", "python"] {
        let gateway = start();
        assert!(push(&gateway, name, "counter"), "{name}");
        gateway.accept(&format!("/metrics/job/{name}_batch/instance/i"), "kept_total 1\n");
        assert!(push(&gateway, name, "delete"), "{name}");
        let kept = format!("kept_total{{instance=\"i\",job=\"{name}_batch\"}}");
        assert_eq!(samples(&gateway).into_keys().collect::<Vec<_>>(), [kept], "{name}");
    }
}

/// The exporter of the metrics crate pushes its registry at an interval: one push from a process that
/// has counted `PUSHES` times. The resulting buckets and sums are the same.
#[test]
fn the_exporter_of_the_metrics_crate() {
    let gateway = start();
    assert!(push(&gateway, "rust-metrics", "global"));
    let found = samples(&gateway);
    let job = "job=\"rust-metrics_batch\"";
    assert_eq!(found[&format!("e2e_items_total{{{job},kind=\"a\"}}")], TOTAL);
    assert_eq!(found[&format!("e2e_items_total{{{job},kind=\"b\"}}")], 2.0 * TOTAL);
    assert_eq!(found[&format!("e2e_latency_seconds_bucket{{{job},le=\"0.5\"}}")], 2.0 * TOTAL);
    assert_eq!(found[&format!("e2e_latency_seconds_count{{{job}}}")], 4.0 * TOTAL);
    let pushes = gateway.sample("tallygate_pushes_total{outcome=\"accepted\"}");
    assert_eq!(pushes, f64::from(WORKERS));
}

/// What shells do with large files: `Expect: 100-continue`, chunks, an offer of HTTP/2.
#[test]
fn large_pushes_by_curl() {
    let gateway = start();
    let lines: String = (0..20_000)
        .map(|i| format!("shell_total{{padding=\"{}\",i=\"{i}\"}} 1\n", "x".repeat(70)))
        .collect();
    assert!(lines.len() > 1_800_000);
    let path = file("metrics.txt", &lines);
    let (data, path) = (format!("@{}", path.display()), path.display().to_string());
    let url = gateway.url("/metrics/job/shell");
    for arguments in [
        &["--data-binary", &data][..],
        &["-X", "PUT", "--data-binary", &data],
        &["-T", &path, "--http1.0"],
        &["-X", "POST", "-T", &path, "-H", "Transfer-Encoding: chunked"],
        &["--http2", "--data-binary", &data],
        &["--compressed", "--data-binary", &data],
    ] {
        let mut curl = std::process::Command::new("curl");
        curl.args(["-sS", "--fail", "--max-time", "30", "-o", "/dev/null", "-w", "%{http_code}"]);
        let output = curl.args(arguments).arg(&url).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "200", "{arguments:?}: {output:?}");
    }
    let text = gateway.pushed();
    let all = text.lines().filter(|line| line.starts_with("shell_total{") && line.ends_with(" 6"));
    assert_eq!(all.count(), 20_000);
}

/// As scripts do it on machines without an HTTP client.
#[test]
fn a_push_by_bash_alone() {
    let gateway = start();
    let script = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{}; body=$'bash_total 2\\n'; \
         printf 'POST /metrics/job/bash HTTP/1.0\\r\\nContent-Length: %d\\r\\n\\r\\n%s' \
         ${{#body}} \"$body\" >&3; read -r _ code _ <&3; cat <&3 >/dev/null; echo $code",
        gateway.address.port()
    );
    let output = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "200\n", "{output:?}");
    assert_eq!(gateway.sample("bash_total{job=\"bash\"}"), 2.0);
}

/// All of them into one gateway at the same time.
#[test]
fn all_at_once() {
    let gateway = start();
    std::thread::scope(|scope| {
        for name in CLIENTS {
            for scenario in ["counter", "histogram"] {
                let gateway = &gateway;
                scope.spawn(move || assert!(push(gateway, name, scenario)));
            }
        }
    });
    let all = CLIENTS.iter().flat_map(|name| {
        ["counter", "histogram"].into_iter().flat_map(|scenario| expected(name, scenario))
    });
    assert_eq!(samples(&gateway), all.collect());
}

/// Some libraries accept only 202 as success, so all others must accept it, too.
#[test]
fn all_take_202_for_success() {
    let gateway = flag("--push.success-code=202").run();
    for name in CLIENTS {
        assert!(push(&gateway, name, "counter"), "{name}");
    }
}
