//! The JSON API: what is stored, what is running, and removal by selector.
//!
//! Answers are `{"status": "success", "data": …}`, as everywhere in the Prometheus world. Values of samples
//! are strings, spelled as in the text format, so that `NaN` and `+Inf` survive.

use std::time::{Duration, UNIX_EPOCH};

use actix_http::Request;
use actix_web::HttpResponse;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::error::Problem;
use super::{Services, guard, params};
use crate::auth::Caller;
use crate::format::write_number;
use crate::gateway::{FamilyView, Gateway, Removed, Selector, SeriesView};
use crate::model::{HistogramReading, Number, ReadBuffer, Reading};
use crate::telemetry::{Cause, Sender};

/// The most series in one answer. The flag `truncated` says whether there are more.
const SERIES_MAX: usize = 100_000;

fn success(data: impl Serialize) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header(("Cache-Control", "no-store"))
        .json(json!({ "status": "success", "data": data }))
}

/// `GET /api/v1/status`
pub(super) fn status(services: &Services) -> HttpResponse {
    let store = services.gateway.store();
    success(json!({
        "build_information": {
            "version": env!("CARGO_PKG_VERSION"),
            "revision": crate::REVISION,
        },
        "start_time": timestamp_s(services.gateway.telemetry().started_ms() as f64 / 1000.0),
        "phase": format!("{:?}", services.lifecycle.phase()).to_lowercase(),
        "series": store.series_count(),
        "families": store.family_count(),
        "flags": services.flags(),
    }))
}

/// `GET /api/v1/metrics?match[]=`: families with their values.
///
/// # Errors
/// 400 for a selector that cannot be read.
pub(super) async fn metrics(
    services: &Services,
    request: &Request,
) -> Result<HttpResponse, Problem> {
    let selectors = params::selectors(request, false)?;
    services.list(move |gateway| metrics_json(gateway, &selectors), success_list).await
}

fn metrics_json(gateway: &Gateway, selectors: &[Selector]) -> String {
    let (families, truncated) = gateway.query(selectors, SERIES_MAX);
    let mut buffer = ReadBuffer::default();
    let mut out = String::from("{\"families\":");
    write_array(&mut out, &families, |out, family| {
        let head = family_json(family).to_string();
        out.push_str(head.strip_suffix('}').unwrap_or(&head));
        out.push_str(",\"metrics\":");
        write_array(out, family.series(), |out, series| {
            series.read(&mut buffer);
            let mut object = reading_json(&buffer.reading());
            object.insert("labels".into(), labels_json(&series));
            out.push_str(&Value::Object(object).to_string());
        });
        out.push('}');
    });
    end_list(out, truncated)
}

/// Lists are written piece by piece: the values of all that is in them would take ten times the memory.
pub(super) fn write_array<T>(
    out: &mut String,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut String, T),
) {
    out.push('[');
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(']');
}

fn end_list(mut out: String, truncated: bool) -> String {
    out.push_str(if truncated { ",\"truncated\":true}" } else { ",\"truncated\":false}" });
    out
}

/// `data` is JSON.
fn success_list(data: String) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header(("Cache-Control", "no-store"))
        .content_type("application/json")
        .body(format!("{{\"status\":\"success\",\"data\":{data}}}"))
}

/// `GET /api/v1/series?match[]=`: explains each series.
///
/// # Errors
/// 400 without a selector, or for one that cannot be read.
pub(super) async fn series(
    services: &Services,
    request: &Request,
) -> Result<HttpResponse, Problem> {
    let selectors = params::selectors(request, true)?;
    services.list(move |gateway| series_json(gateway, &selectors), success_list).await
}

fn series_json(gateway: &Gateway, selectors: &[Selector]) -> String {
    let (families, truncated) = gateway.query(selectors, SERIES_MAX);
    let all =
        families.iter().flat_map(|family| family.series().map(move |series| (family, series)));
    let mut out = String::from("{\"series\":");
    write_array(&mut out, all, |out, (family, series)| {
        let one = json!({
            "name": family.name(),
            "type": family.kind().word(),
            "labels": labels_json(&series),
            "merge": series.merge(),
            "group": series.group(),
            "created": timestamp_s(series.created_ms() as f64 / 1000.0),
            "last_push": timestamp_s(series.last_push_s().into()),
            "expires": series.expires_s().map(|expires| timestamp_s(expires.into())),
            "memory_bytes": series.bytes(),
        });
        out.push_str(&one.to_string());
    });
    end_list(out, truncated)
}

/// `DELETE /api/v1/series?match[]=`
///
/// # Errors
/// 403 where the admin API is off, 400 without a selector that selects.
pub(super) async fn delete_series(
    services: &Services,
    request: &Request,
    caller: &Caller,
) -> Result<HttpResponse, Problem> {
    admin(services)?;
    let selectors = params::selectors(request, true)?;
    let work = move |gateway: &Gateway, dry_run: bool| gateway.delete_matching(&selectors, dry_run);
    delete(services, request, caller, work).await
}

/// Answers a deletion with 202; with `dry_run`, tells what `work` would remove.
pub(super) async fn delete(
    services: &Services,
    request: &Request,
    caller: &Caller,
    work: impl FnOnce(&Gateway, bool) -> Removed + Send + 'static,
) -> Result<HttpResponse, Problem> {
    if params::dry_run(request) {
        let removed = services.offload(|gateway| work(gateway, true)).await?;
        return Ok(HttpResponse::Accepted().json(json!({
            "status": "success",
            "data": { "dry_run": true, "series": removed.series, "families": removed.families },
        })));
    }
    let by = guard::sender(request, caller);
    services.remove(Cause::Deleted, by, |gateway| work(gateway, false)).await?;
    Ok(HttpResponse::Accepted().finish())
}

/// `PUT /api/v1/admin/wipe`
///
/// # Errors
/// 403 where the admin API is off.
pub(super) async fn wipe(services: &Services, by: Sender) -> Result<HttpResponse, Problem> {
    admin(services)?;
    services.remove(Cause::Wiped, by, Gateway::wipe).await?;
    Ok(HttpResponse::Accepted().finish())
}

fn admin(services: &Services) -> Result<(), Problem> {
    match services.options.enable_admin_api {
        true => Ok(()),
        false => Err(Problem::not_enabled("--web.enable-admin-api")),
    }
}

/// All but its series.
fn family_json(family: &FamilyView) -> Value {
    let mut object = Map::new();
    object.insert("name".into(), family.name().into());
    object.insert("type".into(), family.kind().word().into());
    for (key, text) in [("help", family.help()), ("unit", family.unit())] {
        if !text.is_empty() {
            object.insert(key.into(), (*text).into());
        }
    }
    Value::Object(object)
}

fn labels_json(series: &SeriesView<'_>) -> Value {
    let pairs = series.pairs().map(|(name, value)| (name.into_owned(), Value::from(&*value)));
    Value::Object(pairs.collect())
}

fn reading_json(reading: &Reading<'_>) -> Map<String, Value> {
    let mut object = Map::new();
    let mut set = |key: &str, value: Value| _ = object.insert(key.to_owned(), value);
    match reading {
        Reading::Counter { value, .. } | Reading::Gauge(value) | Reading::Untyped(value) => {
            set("value", float(*value).into());
        }
        Reading::Summary { count, sum, quantiles } => {
            set("count", number(*count));
            set("sum", sum.map_or(Value::Null, |sum| float(sum).into()));
            let pairs = quantiles.iter().map(|(q, value)| (float(*q), float(*value).into()));
            set("quantiles", Value::Object(pairs.collect()));
        }
        Reading::Histogram(histogram) => {
            set("count", number(histogram.count));
            set("sum", histogram.sum.map_or(Value::Null, |sum| float(sum).into()));
            if !histogram.buckets.is_empty() {
                set("buckets", buckets_json(histogram));
            }
            if let Some(native) = &histogram.native {
                let side = |buckets: &[(i32, Number)]| {
                    let pairs = buckets.iter().map(|(index, count)| json!([index, number(*count)]));
                    Value::from(pairs.collect::<Vec<_>>())
                };
                set(
                    "native",
                    json!({
                        "schema": native.schema,
                        "zero_threshold": float(native.zero_threshold),
                        "zero_count": number(native.zero_count),
                        "positive": side(&native.positive),
                        "negative": side(&native.negative),
                    }),
                );
            }
        }
        Reading::StateSet(states) => {
            let pairs = states.iter().map(|(name, on)| (name.to_string(), Value::from(*on)));
            set("states", Value::Object(pairs.collect()));
        }
    }
    object
}

/// Cumulative counts by upper bound.
fn buckets_json(histogram: &HistogramReading) -> Value {
    let pairs = histogram
        .buckets
        .iter()
        .map(|bucket| (float(bucket.upper_bound), number(bucket.cumulative_count)));
    Value::Object(pairs.collect())
}

fn number(count: Number) -> Value {
    match count {
        Number::Int(count) => count.to_string().into(),
        Number::Float(count) => float(count).into(),
    }
}

/// A number as the text format writes it.
fn float(value: f64) -> String {
    let mut text = Vec::new();
    write_number::text_float(&mut text, value);
    String::from_utf8_lossy(&text).into_owned()
}

/// RFC 3339 in UTC, with milliseconds.
fn timestamp_s(seconds: f64) -> String {
    let since = Duration::from_millis((seconds * 1000.0).round() as u64);
    humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
}
