//! Pushes and readings as short text, the same for both:
//!
//! - `3`, `-0`, `NaN`: the value of a counter, gauge, untyped or info series
//! - `le1=3 le+Inf=4 count=4 sum=2.5`: a histogram with cumulative buckets
//! - `schema=0 zt=0.001 zero=2 p-1=4 n3=1`: native buckets, `p` and `n` by index
//! - `count=2 sum=3 q0.5=1`: a summary
//! - `on:a off:b`: a stateset
//! - `#x@5=0.5`: an exemplar with the label `id="x"`, the time 5 ms (optional) and a value; alone, or
//!   after a classic bucket
//! - `t=5`: the stamp of the push, otherwise 0

use crate::merge::Stamp;
use crate::model::exposition::Bucket;
use crate::model::{
    Exemplar, Exposition, Grouping, HistogramReading, Kind, Label, NativeBuckets, Number, Reading,
};

pub(in crate::merge) fn parse(kind: Kind, push: &str) -> (Exposition, Stamp) {
    let grouping = Grouping::default();
    let mut exposition = Exposition::default();
    let mut builder = exposition.build(&grouping);
    let family = builder.family("m");
    builder.set_kind(family, kind);
    let series = builder.series(family, &mut [Label::raw("a", "b")]).unwrap();
    let mut stamp = 0;
    let mut native = None;
    for token in push.split_whitespace() {
        if let Some(text) = token.strip_prefix('#') {
            builder.add_exemplar(series, exemplar(text));
            continue;
        }
        if let Some(state) = token.strip_prefix("on:") {
            builder.add_state(series, state, true);
            continue;
        }
        if let Some(state) = token.strip_prefix("off:") {
            builder.add_state(series, state, false);
            continue;
        }
        let Some((key, value)) = token.split_once('=') else {
            builder.set_scalar(series, float(token)).unwrap();
            continue;
        };
        match key {
            "t" => stamp = value.parse().unwrap(),
            "count" => builder.set_count(series, number(value)).unwrap(),
            "sum" => builder.set_sum(series, float(value)).unwrap(),
            _ if key.starts_with("le") => {
                let (count, exemplar_text) = match value.split_once('#') {
                    Some((count, text)) => (count, Some(text)),
                    None => (value, None),
                };
                builder.add_bucket(
                    series,
                    Bucket {
                        upper_bound: float(&key[2..]),
                        cumulative_count: number(count),
                        exemplar: exemplar_text.map(|text| Box::new(exemplar(text))),
                    },
                );
            }
            _ if key.starts_with('q') => {
                builder.add_quantile(series, float(&key[1..]), float(value));
            }
            _ => set_native(native.get_or_insert_with(no_buckets), key, value),
        }
    }
    if let Some(native) = native {
        builder.set_native(series, native).unwrap();
    }
    builder.finish().unwrap();
    (exposition, stamp)
}

fn no_buckets() -> NativeBuckets {
    NativeBuckets {
        schema: 0,
        zero_threshold: 0.0,
        zero_count: Number::ZERO,
        positive: Vec::new(),
        negative: Vec::new(),
    }
}

fn set_native(native: &mut NativeBuckets, key: &str, value: &str) {
    match key {
        "schema" => native.schema = value.parse().unwrap(),
        "zt" => native.zero_threshold = float(value),
        "zero" => native.zero_count = number(value),
        _ => {
            let bucket = (key[1..].parse().unwrap(), number(value));
            match &key[..1] {
                "p" => native.positive.push(bucket),
                "n" => native.negative.push(bucket),
                _ => panic!("{key}={value}"),
            }
        }
    }
}

fn exemplar(text: &str) -> Exemplar {
    let (head, value) = text.split_once('=').unwrap();
    let (id, time) = match head.split_once('@') {
        Some((id, time)) => (id, Some(time.parse().unwrap())),
        None => (head, None),
    };
    let labels = format!("id=\"{id}\"").into();
    Exemplar { labels, value: float(value), timestamp_ms: time }
}

fn float(text: &str) -> f64 {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

fn number(text: &str) -> Number {
    text.parse().map_or_else(|_| Number::from_f64(float(text)), Number::Int)
}

pub(in crate::merge) fn show(reading: Reading<'_>) -> String {
    let mut out = Vec::new();
    match reading {
        Reading::Counter { value, exemplar } => {
            out.push(show_float(value));
            out.extend(exemplar.map(show_exemplar));
        }
        Reading::Gauge(value) | Reading::Untyped(value) => out.push(show_float(value)),
        Reading::Summary { count, sum, quantiles } => {
            out.push(format!("count={}", show_number(count)));
            out.extend(sum.map(|sum| format!("sum={}", show_float(sum))));
            out.extend(
                quantiles.iter().map(|(q, x)| format!("q{}={}", show_float(*q), show_float(*x))),
            );
        }
        Reading::Histogram(histogram) => show_histogram(histogram, &mut out),
        Reading::StateSet(states) => {
            for (name, on) in states {
                out.push(format!("{}:{name}", if *on { "on" } else { "off" }));
            }
        }
    }
    out.join(" ")
}

fn show_histogram(histogram: &HistogramReading, out: &mut Vec<String>) {
    for bucket in &histogram.buckets {
        let infinite = bucket.upper_bound == f64::INFINITY;
        let bound = if infinite { "+Inf".to_owned() } else { show_float(bucket.upper_bound) };
        let exemplar = bucket.exemplar.as_deref().map(show_exemplar).unwrap_or_default();
        out.push(format!("le{bound}={}{exemplar}", show_number(bucket.cumulative_count)));
    }
    out.push(format!("count={}", show_number(histogram.count)));
    out.extend(histogram.sum.map(|sum| format!("sum={}", show_float(sum))));
    if let Some(native) = &histogram.native {
        out.push(format!("schema={} zt={}", native.schema, show_float(native.zero_threshold)));
        out.push(format!("zero={}", show_number(native.zero_count)));
        for (side, buckets) in [("p", &native.positive), ("n", &native.negative)] {
            out.extend(buckets.iter().map(|(at, n)| format!("{side}{at}={}", show_number(*n))));
        }
    }
    out.extend(histogram.exemplars.iter().map(show_exemplar));
}

fn show_exemplar(exemplar: &Exemplar) -> String {
    let labels = &exemplar.labels;
    let id = labels.strip_prefix("id=\"").and_then(|id| id.strip_suffix('"')).unwrap_or(labels);
    let time = exemplar.timestamp_ms.map(|time| format!("@{time}")).unwrap_or_default();
    format!("#{id}{time}={}", show_float(exemplar.value))
}

/// Distinguishes every value: `-0` is not `0`.
fn show_float(value: f64) -> String {
    if value.abs() < 1e17 && value.fract() == 0.0 {
        value.to_string()
    } else {
        format!("{value:?}")
    }
}

fn show_number(number: Number) -> String {
    match number {
        Number::Int(count) => count.to_string(),
        Number::Float(count) => show_float(count),
    }
}
