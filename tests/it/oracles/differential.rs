//! Random expositions, valid and mutated, for our text readers and the Python ones: both must accept or
//! both refuse, and both must see the same values. Differences by decision are listed with their rule
//! ([`decisions`]); any other difference fails.
//!
//! The expositions are the same every time. For others: `DIFFERENTIAL_SEED=7 DIFFERENTIAL_CASES=100000
//! cargo test --test it differential`

mod decisions;
mod generate;

use std::collections::BTreeMap;

use tallygate::format::Timestamps;
use tallygate::format::openmetrics::{self, OpenMetricsOptions};
use tallygate::format::text::{self, TextOptions};
use tallygate::model::exposition::{PushedSeries, PushedValue};
use tallygate::model::{Exemplar, Exposition, Grouping, Kind, labels};

use super::reader::{self, Family};
use super::readers;
use generate::Random;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text,
    OpenMetrics,
}

/// Values, with exemplars, by name and labels.
type Samples = BTreeMap<String, String>;

/// The results of both readers for one exposition.
#[derive(Debug)]
struct Case<'a> {
    format: Format,
    body: &'a str,
    ours: Result<Samples, String>,
    theirs: Result<Samples, String>,
}

impl Case<'_> {
    fn agrees(&self) -> bool {
        match (&self.ours, &self.theirs) {
            (Ok(ours), Ok(theirs)) => ours == theirs,
            (Err(_), Err(_)) => true,
            (_, _) => false,
        }
    }
}

// === ours ===

fn ours(format: Format, body: &str) -> Result<Samples, String> {
    let (mut exposition, grouping) = (Exposition::default(), Grouping::default());
    let builder = exposition.build(&grouping);
    let timestamps = Timestamps::Reject;
    match format {
        Format::Text => {
            let options =
                TextOptions { timestamps, lenient_line_ends: false, ..TextOptions::default() };
            text::parse(body.as_bytes(), builder, options)
        }
        Format::OpenMetrics => {
            let options = OpenMetricsOptions { timestamps, require_eof: true };
            openmetrics::parse(body.as_bytes(), builder, options)
        }
    }
    .map_err(|error| error.to_string())?;
    let mut samples = Samples::new();
    for family in exposition.families() {
        for series in exposition.series().filter(|series| series.family == family.id) {
            add_series(&mut samples, format, (family.name, family.kind), &series);
        }
    }
    Ok(samples)
}

fn add_series(
    samples: &mut Samples,
    format: Format,
    (name, kind): (&str, Kind),
    series: &PushedSeries<'_>,
) {
    let gauge = kind == Kind::GaugeHistogram && format == Format::OpenMetrics;
    let mut add = |suffix: &str, label: Option<(&str, String)>, value: f64, exemplar| {
        let pairs = labels::pairs(series.labels);
        let pairs = pairs.map(|(name, value)| (name.into_owned(), value.into_owned()));
        let extra = label.map(|(name, value)| (name.to_owned(), value));
        let suffix = match suffix {
            "_sum" if gauge => "_gsum",
            "_count" if gauge => "_gcount",
            _ => suffix,
        };
        let key = key(&format!("{name}{suffix}"), pairs.chain(extra).collect());
        samples.insert(key, with_exemplar(value, exemplar));
    };
    match series.value {
        PushedValue::Scalar(value) => add("", None, value, series.exemplars.iter().next()),
        PushedValue::Histogram { count, sum, buckets, .. } => {
            for bucket in buckets.iter() {
                let le = Some(("le", bucket.upper_bound.to_string()));
                let exemplar = bucket.exemplar.as_deref();
                add("_bucket", le, bucket.cumulative_count.as_f64(), exemplar);
            }
            sum.into_iter().for_each(|sum| add("_sum", None, sum, None));
            count.into_iter().for_each(|count| add("_count", None, count.as_f64(), None));
        }
        PushedValue::Summary { count, sum, quantiles } => {
            for at in quantiles.iter() {
                add("", Some(("quantile", at.quantile.to_string())), at.value, None);
            }
            sum.into_iter().for_each(|sum| add("_sum", None, sum, None));
            count.into_iter().for_each(|count| add("_count", None, count.as_f64(), None));
        }
        PushedValue::StateSet(states) => {
            for state in states.iter() {
                add("", Some((name, state.name.to_string())), f64::from(u8::from(state.on)), None);
            }
        }
    }
    if let Some(created_ms) = series.created_ms {
        let base = if kind == Kind::Counter { name.strip_suffix("_total") } else { None };
        let name = format!("{}_created", base.unwrap_or(name));
        let pairs = labels::pairs(series.labels);
        let pairs = pairs.map(|(name, value)| (name.into_owned(), value.into_owned()));
        samples.insert(key(&name, pairs.collect()), shown(created_ms as f64 / 1000.0));
    }
}

fn with_exemplar(value: f64, exemplar: Option<&Exemplar>) -> String {
    let exemplar = exemplar.map(|exemplar| {
        let pairs = labels::pairs(&exemplar.labels);
        let pairs = pairs.map(|(name, value)| (name.into_owned(), value.into_owned()));
        let time = exemplar.timestamp_ms.map(|ms| shown(ms as f64 / 1000.0));
        shown_exemplar(&pairs.collect(), &shown(exemplar.value), time)
    });
    shown(value) + &exemplar.unwrap_or_default()
}

// === theirs ===

fn theirs(families: &[Family]) -> Samples {
    let samples = families.iter().flat_map(|family| &family.samples);
    let shown = samples.map(|sample| {
        let labels = sample.labels.iter().filter(|(_, value)| !value.is_empty());
        let key = key(&sample.name, labels.map(|(n, v)| (n.clone(), v.clone())).collect());
        let mut shown = number(sample.value.as_ref().expect("no native histograms in text"));
        if let Some(exemplar) = &sample.exemplar {
            let time = exemplar.timestamp.as_deref().map(milliseconds);
            shown += &shown_exemplar(&exemplar.labels, &number(&exemplar.value), time);
        }
        (key, shown)
    });
    shown.collect()
}

// === both ===

fn key(name: &str, mut labels: BTreeMap<String, String>) -> String {
    for bound in ["le", "quantile"] {
        if let Some(value) = labels.get_mut(bound) {
            *value = number(value);
        }
    }
    format!("{name}{}", reader::labels(&labels))
}

fn shown_exemplar(labels: &BTreeMap<String, String>, value: &str, time: Option<String>) -> String {
    let labels = labels.iter().filter(|(_, value)| !value.is_empty());
    let labels = labels.map(|(n, v)| (n.clone(), v.clone())).collect();
    let time = time.map(|time| format!(" @{time}")).unwrap_or_default();
    format!(" #{} {value}{time}", reader::labels(&labels))
}

fn number(text: &str) -> String {
    text.parse().map_or_else(|_| text.to_owned(), shown)
}

/// Their times are in nanoseconds.
fn milliseconds(time: &str) -> String {
    shown((time.parse::<f64>().expect("a time") * 1000.0).round() / 1000.0)
}

/// Python reads `-0` as an integer, which loses the sign.
fn shown(value: f64) -> String {
    format!("{:?}", value + 0.0)
}

// === the test ===

fn compare(format: Format) {
    let set = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let (seed, cases) = (set("DIFFERENTIAL_SEED"), set("DIFFERENTIAL_CASES"));
    let as_usual = (seed, cases) == (None, None);
    let (seed, cases) = (seed.unwrap_or(1), cases.unwrap_or(6000));
    let mut random = Random::new(seed);
    let mut readers = readers();
    let oracle = match format {
        Format::Text => &mut readers.text,
        Format::OpenMetrics => &mut readers.openmetrics,
    };
    let (mut accepted, mut refused) = (0, 0);
    let mut differences = Vec::new();
    let mut decided: BTreeMap<&str, u32> = BTreeMap::new();
    for at in 0..cases {
        let valid = generate::exposition(&mut random, format);
        let body = if at % 4 == 0 { valid } else { generate::mutated(&mut random, &valid) };
        let case = Case {
            format,
            body: &body,
            ours: ours(format, &body),
            theirs: oracle.try_read(body.as_bytes()).map(|families| theirs(&families)),
        };
        match case.ours {
            Ok(_) => accepted += 1,
            Err(_) => refused += 1,
        }
        if at % 4 == 0 && case.ours.is_err() {
            differences.push(format!("a valid exposition is refused: {case:#?}"));
        }
        if case.agrees() {
            continue;
        }
        match decisions::covering(&case) {
            Some(decision) => *decided.entry(decision.rule).or_default() += 1,
            None => differences.push(format!("{case:#?}")),
        }
    }
    assert!(
        differences.is_empty(),
        "seed {seed}: {} differences, the first:\n{}",
        differences.len(),
        differences[..differences.len().min(12)].join("\n")
    );
    if as_usual {
        // Otherwise, there would be little to agree on.
        assert!(accepted > 1500 && refused > 1500, "{accepted} accepted, {refused} refused");
        for decision in decisions::DECISIONS.iter().filter(|decision| decision.format == format) {
            assert!(decided.contains_key(decision.rule), "never met: {}", decision.rule);
        }
    }
}

#[test]
fn text_is_read_alike() {
    compare(Format::Text);
}

#[test]
fn openmetrics_is_read_alike() {
    compare(Format::OpenMetrics);
}
