//! The JSON API of the Pushgateway (pushgateway-contract 12).

use std::time::Duration;

use actix_web::{HttpResponse, HttpResponseBuilder};
use serde_json::{Value, json};

use super::json;
use crate::gateway::Gateway;
use crate::http::Services;
use crate::http::error::Problem;
use crate::telemetry::{Cause, Sender};
use crate::units::parse_duration;

/// Browsers may read it from anywhere.
const CORS: [(&str, &str); 5] = [
    ("Access-Control-Allow-Headers", "Accept, Authorization, Content-Type, Origin"),
    ("Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS"),
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", "Date"),
    ("Cache-Control", "no-cache, no-store, must-revalidate"),
];

pub(super) fn with_cors(response: &mut HttpResponseBuilder) -> &mut HttpResponseBuilder {
    for header in CORS {
        response.insert_header(header);
    }
    response
}

fn success(data: String) -> HttpResponse {
    let body = format!("{{\"status\":\"success\",\"data\":{data}}}");
    with_cors(&mut HttpResponse::Ok()).content_type("application/json").body(body)
}

/// `GET /api/v1/status`
pub(super) fn status(services: &Services) -> HttpResponse {
    success(status_json(services).to_string())
}

pub(super) fn status_json(services: &Services) -> Value {
    let started_ns = services.gateway.telemetry().started_ms() * 1_000_000;
    json!({
        "build_information": {
            "branch": "HEAD",
            "buildDate": "",
            "buildUser": "tallygate",
            "goVersion": "none",
            "revision": crate::REVISION,
            "version": env!("CARGO_PKG_VERSION"),
        },
        "flags": flags(services),
        "start_time": json::time(started_ns),
    })
}

/// Flags by name, without dashes; durations as Go writes them.
fn flags(services: &Services) -> Value {
    let flag = |(name, value): (String, String)| {
        let name = name.trim_start_matches("--").to_owned();
        let value = match parse_duration(&value) {
            Ok(duration) if value.ends_with(char::is_alphabetic) => go_duration(duration),
            _ => value,
        };
        (name, Value::from(value))
    };
    Value::Object(services.flags().into_iter().map(flag).collect())
}

/// `5m0s`, `1m30s`, `500ms`
fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes, duration.subsec_millis()) {
        (0, 0, millis) if seconds == 0 && millis > 0 => format!("{millis}ms"),
        (0, 0, 0) => format!("{rest}s"),
        (0, _, 0) => format!("{minutes}m{rest}s"),
        (_, _, 0) => format!("{hours}h{minutes}m{rest}s"),
        _ => format!("{}s", duration.as_secs_f64()),
    }
}

/// `GET /api/v1/metrics`: every group with its families.
pub(super) async fn metrics(services: &Services) -> Result<HttpResponse, Problem> {
    let groups = |gateway: &Gateway| {
        let groups = gateway.groups().map(|groups| groups.snapshot()).unwrap_or_default();
        json::groups(&groups)
    };
    services.list(groups, success).await
}

/// `PUT /api/v1/admin/wipe`
pub(super) async fn wipe(services: &Services, by: Sender) -> Result<HttpResponse, Problem> {
    services.gateway.check_writable()?;
    let work = move |gateway: &Gateway| {
        let (groups, removed) = gateway.wipe_groups();
        let telemetry = gateway.telemetry();
        telemetry.group_removal_requested(Cause::Wiped, groups, &by);
        telemetry.removal_requested(Cause::Wiped, removed.series, &by);
        removed.ticket
    };
    let ticket = services.offload(work).await?;
    services.gateway.safe(ticket).await?;
    Ok(HttpResponse::Accepted().finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_go_writes_them() {
        for (text, expected) in
            [("5m", "5m0s"), ("90s", "1m30s"), ("1h", "1h0m0s"), ("500ms", "500ms"), ("0s", "0s")]
        {
            assert_eq!(go_duration(parse_duration(text).unwrap()), expected);
        }
    }
}
