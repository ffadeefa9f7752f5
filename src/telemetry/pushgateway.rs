//! Our own metrics under the names of the Pushgateway, so that dashboards and alerts that were made for it
//! keep working (pushgateway-contract 11). Only `--mode=pushgateway` shows them.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::labels::label_values;
use super::registry::OwnSnapshot;
use super::{METRICS, Telemetry, Use};
use crate::model::{Kind, Number, ReadBuffer, labels};

label_values!(
    /// Which part of the HTTP surface answered, as the Pushgateway calls it.
    PushgatewayHandler {
        Push = "push",
        Delete = "delete",
        Healthy = "healthy",
        Ready = "ready",
        Page = "status",
        Static = "static",
        Wipe = "wipe",
        Status = "api/v1/status",
        Metrics = "api/v1/metrics",
        Options = "api/v1/options",
    }
);

label_values!(
    /// Method of a request, in the lower case of the label.
    Method { Get = "get", Head = "head", Put = "put", Post = "post", Delete = "delete", Options = "options" }
);

const BUILD_INFO: &str = "pushgateway_build_info";
const REQUESTS: &str = "pushgateway_http_requests_total";
const DURATION: &str = "pushgateway_http_push_duration_seconds";
const SIZE: &str = "pushgateway_http_push_size_bytes";

/// (name, type, help)
const FAMILIES: [(&str, Kind, &str); 4] = [
    (BUILD_INFO, Kind::Gauge, "Always 1; the labels tell what is running."),
    (DURATION, Kind::Summary, "HTTP request duration for pushes to the gateway."),
    (SIZE, Kind::Summary, "HTTP request size for pushes to the gateway."),
    (REQUESTS, Kind::Counter, "Total HTTP requests processed, without scrapes."),
];

const QUANTILES: [f64; 3] = [0.1, 0.5, 0.9];

/// Quantiles cover the latest observations: at most this many, and none older than [`AGE_MAX`].
const OBSERVATIONS_MAX: usize = 1000;
const AGE_MAX: Duration = Duration::from_secs(600);

#[derive(Debug, Default)]
pub(super) struct Pushgateway {
    requests: Mutex<BTreeMap<(&'static str, u16, &'static str), u64>>,
    durations: Mutex<BTreeMap<&'static str, Observations>>,
    sizes: Mutex<BTreeMap<&'static str, Observations>>,
}

/// A summary whose quantiles forget.
#[derive(Debug, Default)]
struct Observations {
    count: u64,
    sum: f64,
    latest: VecDeque<(Instant, f64)>,
}

impl Observations {
    fn observe(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        if self.latest.len() == OBSERVATIONS_MAX {
            self.latest.pop_front();
        }
        self.latest.push_back((Instant::now(), value));
    }

    fn read(&self) -> ReadBuffer {
        let recent = self.latest.iter().filter(|(at, _)| at.elapsed() <= AGE_MAX);
        let mut values: Vec<f64> = recent.map(|(_, value)| *value).collect();
        values.sort_by(f64::total_cmp);
        let quantiles = QUANTILES.map(|quantile| {
            let rank = (quantile * values.len() as f64).ceil() as usize;
            (quantile, values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN))
        });
        let mut buffer = ReadBuffer::default();
        buffer.set_summary(Number::Int(self.count), Some(self.sum));
        buffer.set_quantiles(&quantiles);
        buffer
    }
}

impl Telemetry {
    /// One request of pushgateway mode, as its own counter has it.
    pub fn pushgateway_answered(&self, handler: PushgatewayHandler, code: u16, method: Method) {
        let key = (handler.word(), code, method.word());
        *self.pushgateway.requests.lock().entry(key).or_default() += 1;
    }

    /// A push, good or bad. `bytes` is roughly the size of the whole request.
    pub fn pushgateway_pushed(&self, method: Method, took: Duration, bytes: usize) {
        let method = method.word();
        let seconds = took.as_secs_f64();
        self.pushgateway.durations.lock().entry(method).or_default().observe(seconds);
        self.pushgateway.sizes.lock().entry(method).or_default().observe(bytes as f64);
    }

    /// All our families in pushgateway mode, in the order of their names.
    pub fn pushgateway_snapshot(&self, used: Use) -> Vec<OwnSnapshot> {
        let mut families = self.snapshot(used);
        for family in &mut families {
            family.name = pushgateway_name(&family.name).to_owned();
        }
        families.extend(self.pushgateway.snapshot());
        families.sort_by(|a, b| a.name.cmp(&b.name));
        families
    }

    /// Names and types of [`Telemetry::pushgateway_snapshot`].
    pub fn pushgateway_names() -> impl Iterator<Item = (&'static str, Kind)> {
        let ours = METRICS.iter().map(|metric| (pushgateway_name(metric.name), metric.kind));
        ours.chain(FAMILIES.iter().map(|&(name, kind, _)| (name, kind)))
    }
}

/// `process_*` metrics have the names they have everywhere.
fn pushgateway_name(name: &str) -> &str {
    match name.strip_prefix("tallygate_") {
        Some(general) if general.starts_with("process_") => general,
        _ => name,
    }
}

impl Pushgateway {
    fn snapshot(&self) -> Vec<OwnSnapshot> {
        let mut families = Vec::new();
        for (name, kind, help) in FAMILIES {
            let series = match name {
                BUILD_INFO => vec![(build_labels(), scalar(kind, 1.0))],
                REQUESTS => self.requests(),
                DURATION => summaries(&self.durations),
                _ => summaries(&self.sizes),
            };
            if !series.is_empty() {
                let (name, help) = (name.to_owned(), help.to_owned());
                families.push(OwnSnapshot { name, kind, help, series });
            }
        }
        families
    }

    fn requests(&self) -> Vec<(String, ReadBuffer)> {
        let requests = self.requests.lock();
        let series = requests.iter().map(|((handler, code, method), count)| {
            let code = code.to_string();
            let labels = text(&[("code", &code), ("handler", handler), ("method", method)]);
            (labels, scalar(Kind::Counter, *count as f64))
        });
        series.collect()
    }
}

fn summaries(of: &Mutex<BTreeMap<&'static str, Observations>>) -> Vec<(String, ReadBuffer)> {
    let of = of.lock();
    of.iter().map(|(method, seen)| (text(&[("method", method)]), seen.read())).collect()
}

/// The labels by which the Pushgateway describes its build.
fn build_labels() -> String {
    text(&[
        ("branch", "HEAD"),
        ("goarch", goarch()),
        ("goos", std::env::consts::OS),
        ("goversion", "none"),
        ("revision", crate::REVISION),
        ("tags", "tallygate"),
        ("version", env!("CARGO_PKG_VERSION")),
    ])
}

/// The machine, in the words of Go.
fn goarch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        arch => arch,
    }
}

fn text(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        labels::write_label(&mut text, name, value);
    }
    text
}

fn scalar(kind: Kind, value: f64) -> ReadBuffer {
    let mut buffer = ReadBuffer::default();
    buffer.set_scalar(kind, value, None);
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Reading;

    #[test]
    fn quantiles_are_of_what_was_observed() {
        let mut seen = Observations::default();
        (1..=10).for_each(|n| seen.observe(f64::from(n)));
        let buffer = seen.read();
        let Reading::Summary { count, sum, quantiles } = buffer.reading() else {
            panic!("summary")
        };
        assert_eq!((count, sum), (Number::Int(10), Some(55.0)));
        assert_eq!(quantiles, [(0.1, 1.0), (0.5, 5.0), (0.9, 9.0)]);
        (0..2 * OBSERVATIONS_MAX).for_each(|_| seen.observe(0.5));
        assert_eq!(seen.latest.len(), OBSERVATIONS_MAX);
    }

    #[test]
    fn every_family_shown_is_named_beforehand() {
        let telemetry = Telemetry::new(0);
        telemetry.answered(super::super::Handler::Push, 200);
        telemetry.pushgateway_answered(PushgatewayHandler::Push, 200, Method::Put);
        telemetry.pushgateway_pushed(Method::Put, Duration::from_millis(1), 150);
        let snapshot = telemetry.pushgateway_snapshot(Use::default());
        let shown: Vec<_> = snapshot.iter().map(|family| (&*family.name, family.kind)).collect();
        assert!(shown.is_sorted());
        let named: Vec<_> = Telemetry::pushgateway_names().collect();
        for family in &shown {
            assert!(named.contains(family), "{family:?}");
        }
        for (name, kind, _) in FAMILIES {
            assert!(shown.contains(&(name, kind)), "{name}");
        }
        assert!(shown.contains(&("process_open_fds", Kind::Gauge)));
    }
}
