//! What the fuzz targets share: a gateway to push to, and what must hold of it at any time.

use std::sync::Arc;

use tallygate::format::Timestamps;
use tallygate::format::compress::Compression;
use tallygate::format::escaping::Escaping;
use tallygate::format::negotiate::{Format, PushFormat};
use tallygate::gateway::{Content, Gateway, PushRequest, ScrapeRequest, Settings};
use tallygate::model::Grouping;
use tallygate::telemetry::Telemetry;

pub fn gateway() -> Gateway {
    let settings =
        Settings { timestamps: Timestamps::Ignore, created_samples: true, ..Settings::default() };
    Gateway::new(settings, Arc::new(Telemetry::new(0)))
}

pub fn scrape(gateway: &Gateway, format: Format) -> Vec<u8> {
    let wanted = ScrapeRequest {
        format,
        escaping: Escaping::AllowUtf8,
        compression: Compression::Identity,
        selectors: Vec::new(),
        content: Content::Pushed,
    };
    let mut scrape = gateway.scrape(wanted).expect("memory");
    let mut all = Vec::new();
    while let Some(piece) = scrape.next_piece().expect("memory") {
        all.extend(piece);
    }
    all
}

pub fn push(gateway: &Gateway, format: PushFormat, body: &[u8]) -> bool {
    let grouping = Grouping::default();
    gateway.push(&PushRequest::new(&grouping, format, body)).is_ok()
}

/// A body that is accepted can be exposed in every format, what is exposed can be read again, and
/// what is read again is exposed in the same way. A body that is refused leaves nothing.
pub fn check_body(format: PushFormat, body: &[u8]) {
    let first = gateway();
    if !push(&first, format, body) {
        assert!(scrape(&first, Format::Text100).is_empty(), "a refused push has left something");
        return;
    }
    for (exposed, pushed) in [
        (Format::Text100, PushFormat::Text),
        (Format::OpenMetrics100, PushFormat::OpenMetrics),
        (Format::ProtobufDelimited, PushFormat::Protobuf),
    ] {
        let bytes = scrape(&first, exposed);
        let second = gateway();
        assert!(
            push(&second, pushed, &bytes),
            "not readable again as {exposed:?}: {:?}",
            String::from_utf8_lossy(&bytes)
        );
    }
}
