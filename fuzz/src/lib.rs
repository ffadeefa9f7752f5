//! What the fuzz targets share: a gateway to push to, and checks that must always hold for it.

use std::sync::{Arc, LazyLock};

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
    scrape_escaped(gateway, format, Escaping::AllowUtf8)
}

fn scrape_escaped(gateway: &Gateway, format: Format, escaping: Escaping) -> Vec<u8> {
    let wanted = ScrapeRequest {
        format,
        escaping,
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
    // Numbered, as by HTTP: without a number, nothing is remembered of a push.
    static GROUPING: LazyLock<Grouping> = LazyLock::new(|| Grouping::default().numbered());
    gateway.push(&PushRequest::new(&GROUPING, format, body)).is_ok()
}

const ESCAPINGS: [Escaping; 4] =
    [Escaping::AllowUtf8, Escaping::Underscores, Escaping::Dots, Escaping::Values];

/// An accepted body can be exposed in every format and with every escaping, and each exposition can be
/// read again. A refused body leaves nothing behind.
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
        for escaping in ESCAPINGS {
            let bytes = scrape_escaped(&first, exposed, escaping);
            let second = gateway();
            assert!(
                push(&second, pushed, &bytes),
                "not readable again as {exposed:?}, {escaping:?}: {:?}",
                String::from_utf8_lossy(&bytes)
            );
        }
    }
}
