//! The requests, as bytes on the wire.

use std::fmt::Write as _;
use std::io::Write as _;
use std::rc::Rc;

use flate2::Compression as Level;
use flate2::write::GzEncoder;
use tallygate::format::negotiate::{Format, PushFormat};
use tallygate::model::Grouping;

use crate::client::Write;
use crate::common;

/// Samples, that is lines, of [`small`].
pub(crate) const SMALL_SAMPLES: u64 = 13;

/// How a body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Gzip,
    Protobuf,
}

/// 4 counters, a gauge, and a histogram of 6 buckets.
pub(crate) fn small() -> Vec<u8> {
    common::SMALL.to_vec()
}

/// 200 samples: 64 counters, 16 gauges, 15 histograms of 6 buckets.
pub(crate) fn medium() -> Vec<u8> {
    let mut body = String::from("# TYPE shop_requests_total counter\n");
    for at in 0..64 {
        let method = ["GET", "POST", "PUT", "DELETE"][at % 4];
        let _ = writeln!(
            body,
            "shop_requests_total{{handler=\"/api/{}\",method=\"{method}\"}} {at}",
            at / 4
        );
    }
    body += "# TYPE shop_queue_length gauge\n";
    for at in 0..16 {
        let _ = writeln!(body, "shop_queue_length{{queue=\"incoming-orders-{at}\"}} {at}.5");
    }
    body += "# TYPE shop_duration_seconds histogram\n";
    for at in 0..15 {
        let handler = format!("handler=\"/api/{at}\"");
        for (nth, bound) in ["0.01", "0.05", "0.1", "0.5", "1", "+Inf"].into_iter().enumerate() {
            let _ = writeln!(
                body,
                "shop_duration_seconds_bucket{{{handler},le=\"{bound}\"}} {}",
                nth * 3
            );
        }
        let _ = writeln!(body, "shop_duration_seconds_sum{{{handler}}} 2.0471093");
        let _ = writeln!(body, "shop_duration_seconds_count{{{handler}}} 15");
    }
    body.into_bytes()
}

/// A family of 1,000 counters.
pub(crate) fn family(number: u64) -> Vec<u8> {
    let mut body = format!("# TYPE warehouse_{number:04}_items_total counter\n");
    for at in 0..1000 {
        let _ = writeln!(
            body,
            "warehouse_{number:04}_items_total{{shelf=\"shelf-{at:04}\",site=\"eu-central-1\"}} {}",
            at + 17
        );
    }
    body.into_bytes()
}

/// The same push in the form of another client.
pub(crate) fn in_form(text: &[u8], form: Form) -> Vec<u8> {
    match form {
        Form::Text => text.to_vec(),
        Form::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Level::default());
            encoder.write_all(text).expect("memory");
            encoder.finish().expect("memory")
        }
        Form::Protobuf => {
            let gateway = common::gateway();
            common::push(&gateway, &Grouping::default(), PushFormat::Text, text);
            common::scrape_body(&gateway, Format::ProtobufDelimited)
        }
    }
}

/// Pushes of one body under `label_sets` grouping keys in turn.
pub(crate) fn push(text: &[u8], form: Form, label_sets: u64, fresh: bool) -> Write {
    let body = in_form(text, form);
    let form = match form {
        Form::Text => "Content-Type: text/plain; version=0.0.4\r\n",
        Form::Gzip => "Content-Type: text/plain; version=0.0.4\r\nContent-Encoding: gzip\r\n",
        Form::Protobuf => {
            "Content-Type: application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited\r\n"
        }
    };
    let close = if fresh { "Connection: close\r\n" } else { "" };
    Rc::new(move |number, out| {
        let set = number % label_sets;
        let length = body.len();
        let _ = write!(
            out,
            "POST /metrics/job/checkout/instance/i{set:07} HTTP/1.1\r\nHost: gateway\r\n\
             User-Agent: load/1\r\n{form}{close}Content-Length: {length}\r\n\r\n"
        );
        out.extend_from_slice(&body);
    })
}

/// Pushes of the families `number * every`.
pub(crate) fn push_families(every: u64) -> Write {
    Rc::new(move |number, out| {
        let body = family(number * every);
        let length = body.len();
        let _ = write!(
            out,
            "POST /metrics/job/stock HTTP/1.1\r\nHost: gateway\r\nContent-Length: {length}\r\n\r\n"
        );
        out.extend_from_slice(&body);
    })
}

/// A scrape request like that of Prometheus.
pub(crate) fn scrape(gzip: bool) -> Vec<u8> {
    let encoding = if gzip { "Accept-Encoding: gzip\r\n" } else { "" };
    format!(
        "GET /metrics HTTP/1.1\r\nHost: gateway\r\nUser-Agent: load/1\r\n\
         Accept: text/plain;version=0.0.4\r\n{encoding}\r\n"
    )
    .into_bytes()
}

/// Asks the null server for the bytes it was given, all at once.
pub(crate) fn at_once() -> &'static [u8] {
    b"GET /at-once HTTP/1.1\r\nHost: null\r\n\r\n"
}

/// Gives the null server the bytes that it will send.
pub(crate) fn keep(bytes: &[u8]) -> Vec<u8> {
    let mut request =
        format!("PUT / HTTP/1.1\r\nHost: null\r\nContent-Length: {}\r\n\r\n", bytes.len())
            .into_bytes();
    request.extend_from_slice(bytes);
    request
}
