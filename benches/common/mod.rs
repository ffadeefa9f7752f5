//! A gateway without HTTP, and what to do with it.

#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;

use tallygate::format::compress::Compression;
use tallygate::format::escaping::Escaping;
use tallygate::format::negotiate::{Format, PushFormat};
use tallygate::gateway::{Content, Gateway, PushRequest, ScrapeRequest, Settings};
use tallygate::model::Grouping;
use tallygate::telemetry::Telemetry;

pub(crate) const SMALL: &[u8] = include_bytes!("../corpus/small.txt");
pub(crate) const MEDIUM: &[u8] = include_bytes!("../corpus/medium.txt");

pub(crate) fn gateway() -> Gateway {
    Gateway::new(Settings::default(), Arc::new(Telemetry::new(0)))
}

pub(crate) fn push(gateway: &Gateway, grouping: &Grouping, format: PushFormat, body: &[u8]) {
    gateway.push(&PushRequest::new(grouping, format, body)).expect("accepted");
}

/// Counter series with about 60 bytes of label text.
pub(crate) fn fill(gateway: &Gateway, series: usize) {
    let mut at = 0;
    while at < series {
        let mut body = String::from("# TYPE requests_total counter\n");
        for at in at..series.min(at + 10_000) {
            let _ = writeln!(
                body,
                "requests_total{{path=\"/api/v1/items/{at:07}\",zone=\"eu-west-1\"}} 17"
            );
        }
        at += 10_000;
        let grouping = Grouping::new([("job", "checkout")]).expect("a grouping key");
        push(gateway, &grouping, PushFormat::Text, body.as_bytes());
    }
}

/// The key that the pushes of the corpus come under.
pub(crate) fn grouping() -> Grouping {
    Grouping::new([("job", "checkout"), ("instance", "10.0.3.17")]).expect("a grouping key")
}

pub(crate) fn request(format: Format, compression: Compression) -> ScrapeRequest {
    ScrapeRequest {
        format,
        escaping: Escaping::AllowUtf8,
        compression,
        selectors: Vec::new(),
        content: Content::Pushed,
    }
}

pub(crate) fn scrape(gateway: &Gateway, format: Format, compression: Compression) -> usize {
    let wanted = request(format, compression);
    let mut scrape = gateway.scrape(wanted).expect("memory");
    let mut bytes = 0;
    while let Some(piece) = scrape.next_piece().expect("memory") {
        bytes += black_box(piece).len();
    }
    bytes
}
