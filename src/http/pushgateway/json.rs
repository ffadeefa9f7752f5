//! Groups as JSON (pushgateway-contract 12). Numbers are strings: values in the form of the text
//! format, counts of observations in digits.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use crate::format::write_number;
use crate::gateway::{Group, GroupFamily};
use crate::http::api::write_array;
use crate::model::labels::pairs;
use crate::model::{HistogramReading, Kind, NativeBuckets, Number, Reading};

/// Which bounds belong to their bucket, in the codes of the Prometheus API.
const UPPER_INCLUSIVE: u8 = 0;
const LOWER_INCLUSIVE: u8 = 1;
const BOTH_INCLUSIVE: u8 = 3;

pub(super) fn groups(groups: &[Arc<Group>]) -> String {
    let mut out = String::new();
    write_array(&mut out, groups, |out, one| group(out, one));
    out
}

const LABELS: &str = "labels";
const LAST_PUSH_SUCCESSFUL: &str = "last_push_successful";

fn group(out: &mut String, group: &Group) {
    let mut object = Map::new();
    for (name, help, stamp) in [
        ("push_time_seconds", crate::gateway::PUSH_TIME_HELP, group.pushed),
        ("push_failure_time_seconds", crate::gateway::PUSH_FAILURE_TIME_HELP, group.failed),
    ] {
        let metric = json!({ "labels": labels(&group.labels), "value": float(stamp.seconds()) });
        object.insert(
            name.to_owned(),
            json!({
                "time_stamp": time(stamp.noted_ns),
                "type": "GAUGE",
                "help": help,
                "metrics": [metric],
            }),
        );
    }
    object.insert(LABELS.into(), labels(group.grouping.key()));
    object.insert(LAST_PUSH_SUCCESSFUL.into(), group.last_push_successful().into());
    let head = Value::Object(object).to_string();
    out.push_str(head.strip_suffix('}').unwrap_or(&head));
    // These keys are reserved, so metrics with such names are left out.
    let shown =
        |family: &&Arc<GroupFamily>| !matches!(&*family.name, LABELS | LAST_PUSH_SUCCESSFUL);
    for family in group.families.iter().filter(shown) {
        out.push(',');
        out.push_str(&Value::from(&*family.name).to_string());
        out.push(':');
        self::family(out, family);
    }
    out.push('}');
}

fn family(out: &mut String, family: &GroupFamily) {
    let mut object = Map::new();
    object.insert("time_stamp".into(), time(family.pushed_ns).into());
    object.insert("type".into(), type_word(family.kind).into());
    if !family.help.is_empty() {
        object.insert("help".into(), (*family.help).into());
    }
    let head = Value::Object(object).to_string();
    out.push_str(head.strip_suffix('}').unwrap_or(&head));
    out.push_str(",\"metrics\":");
    write_array(out, &family.series, |out, series| {
        let mut metric = Map::new();
        metric.insert("labels".into(), labels(&series.labels));
        put_value(&mut metric, &series.reading(family.kind));
        out.push_str(&Value::Object(metric).to_string());
    });
    out.push('}');
}

pub(super) fn type_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "COUNTER",
        Kind::Gauge | Kind::Info | Kind::StateSet => "GAUGE",
        Kind::Untyped => "UNTYPED",
        Kind::Summary => "SUMMARY",
        Kind::Histogram => "HISTOGRAM",
        Kind::GaugeHistogram => "GAUGE_HISTOGRAM",
    }
}

fn labels(text: &str) -> Value {
    let pairs = pairs(text).map(|(name, value)| (name.into_owned(), Value::from(&*value)));
    Value::Object(pairs.collect())
}

fn put_value(metric: &mut Map<String, Value>, reading: &Reading<'_>) {
    let mut set = |key: &str, value: Value| _ = metric.insert(key.to_owned(), value);
    match reading {
        Reading::Counter { value, .. } | Reading::Gauge(value) | Reading::Untyped(value) => {
            set("value", float(*value).into());
        }
        Reading::Summary { count, sum, quantiles } => {
            set("count", number(*count).into());
            set("sum", float(sum.unwrap_or_default()).into());
            let pairs = quantiles.iter().map(|(q, value)| (float(*q), float(*value).into()));
            set("quantiles", Value::Object(pairs.collect()));
        }
        Reading::Histogram(histogram) => {
            set("count", number(histogram.count).into());
            set("sum", float(histogram.sum.unwrap_or_default()).into());
            set("buckets", buckets(histogram));
        }
        Reading::StateSet(_) => {}
    }
}

fn buckets(histogram: &HistogramReading) -> Value {
    if let Some(native) = &histogram.native {
        return native_buckets(native);
    }
    let pairs = histogram
        .buckets
        .iter()
        .map(|bucket| (float(bucket.upper_bound), number(bucket.cumulative_count).into()));
    Value::Object(pairs.collect())
}

/// `[rule, lower, upper, count]` of each populated bucket, ascending.
fn native_buckets(native: &NativeBuckets) -> Value {
    let filled = |side: &[(i32, Number)]| {
        side.iter().filter(|(_, count)| !count.is_zero()).copied().collect::<Vec<_>>()
    };
    let row = |rule: u8, lower: f64, upper: f64, count: Number| {
        json!([rule, float(lower), float(upper), number(count)])
    };
    let mut rows = Vec::new();
    for (index, count) in filled(&native.negative).into_iter().rev() {
        let (near, far) = (bound(native.schema, index - 1), bound(native.schema, index));
        rows.push(row(LOWER_INCLUSIVE, -far, -near, count));
    }
    if !native.zero_count.is_zero() {
        let zero = native.zero_threshold;
        rows.push(row(BOTH_INCLUSIVE, -zero, zero, native.zero_count));
    }
    for (index, count) in filled(&native.positive) {
        let (near, far) = (bound(native.schema, index - 1), bound(native.schema, index));
        rows.push(row(UPPER_INCLUSIVE, near, far, count));
    }
    rows.into()
}

/// The upper bound of a native bucket: `2^(index * 2^-schema)`.
fn bound(schema: i8, index: i32) -> f64 {
    (f64::from(index) * f64::from(-schema).exp2()).exp2()
}

fn number(count: Number) -> String {
    match count {
        // With all its digits, unlike floats: `1000000`, next to a sum of `1e+06`.
        Number::Int(count) => count.to_string(),
        Number::Float(count) => float(count),
    }
}

/// As in the text format, but with the sign of zero.
fn float(value: f64) -> String {
    if value == 0.0 && value.is_sign_negative() {
        return "-0".to_owned();
    }
    let mut text = Vec::new();
    write_number::text_float(&mut text, value);
    String::from_utf8_lossy(&text).into_owned()
}

/// RFC 3339 in UTC; `ns` is in nanoseconds since the Unix epoch.
pub(super) fn time(ns: i64) -> String {
    let since = Duration::from_nanos(u64::try_from(ns).unwrap_or(0));
    humantime::format_rfc3339_nanos(UNIX_EPOCH + since).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn native_buckets_ascend_through_zero() {
        let native = NativeBuckets {
            schema: 0,
            zero_threshold: 0.5,
            zero_count: Number::Int(2),
            positive: vec![(0, Number::Int(1)), (1, Number::Int(0)), (2, Number::Float(1.5))],
            negative: vec![(1, Number::Int(3)), (2, Number::Int(4))],
        };
        assert_eq!(
            native_buckets(&native),
            json!([
                [1, "-4", "-2", "4"],
                [1, "-2", "-1", "3"],
                [3, "-0.5", "0.5", "2"],
                [0, "0.5", "1", "1"],
                [0, "2", "4", "1.5"],
            ])
        );
    }

    #[test]
    fn numbers_and_times() {
        assert_eq!(float(-0.0), "-0");
        assert_eq!(float(1e6), "1e+06");
        assert_eq!(number(Number::Int(1_000_000)), "1000000");
        assert_eq!(number(Number::Float(1e6)), "1e+06");
        assert_eq!(time(1_500_000_000), "1970-01-01T00:00:01.500000000Z");
    }
}
