//! A gateway without HTTP, and work for it to do.

#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::sync::Arc;

use flate2::write::GzEncoder;
use tallygate::format::compress::{self, Coding, Compression};
use tallygate::format::escaping::Escaping;
use tallygate::format::negotiate::{Format, PushFormat};
use tallygate::gateway::{Content, Gateway, PushRequest, ScrapeRequest, Settings};
use tallygate::model::Grouping;
use tallygate::telemetry::Telemetry;

pub(crate) const SMALL: &[u8] = include_bytes!("../corpus/small.txt");
pub(crate) const MEDIUM: &[u8] = include_bytes!("../corpus/medium.txt");

pub(crate) fn gateway() -> Gateway {
    gateway_with(Settings::default())
}

fn gateway_with(settings: Settings) -> Gateway {
    Gateway::new(settings, Arc::new(Telemetry::new(0)))
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

/// Pushes 13 samples under each of `pushes` grouping keys.
fn fill_mix(gateway: &Gateway, pushes: usize) {
    for at in 0..pushes {
        let instance = format!("i{at:07}");
        let grouping = Grouping::new([("job", "checkout"), ("instance", &instance)]);
        push(gateway, &grouping.expect("a grouping key"), PushFormat::Text, SMALL);
    }
}

/// The grouping key of the corpus, numbered as HTTP would do it.
pub(crate) fn grouping() -> Grouping {
    let pairs = [("job", "checkout"), ("instance", "10.0.3.17")];
    Grouping::new(pairs).expect("a grouping key").numbered()
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

/// The kinds of work that `benches/count` and `tests/instructions.rs` measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// A push of 13 samples to known series, as text or protobuf.
    Text,
    Protobuf,
    /// The same with 200 samples, as text.
    Text200,
    /// Decompressing the body with 13 samples.
    Gunzip,
    /// A scrape of everything, without chunks kept from earlier ones. The store holds counters, or as
    /// many pushes of 13 samples.
    Scrape,
    ScrapeMix,
}

impl Work {
    const ALL: [(Work, &str); 6] = [
        (Work::Text, "push"),
        (Work::Protobuf, "protobuf"),
        (Work::Text200, "push200"),
        (Work::Gunzip, "gunzip"),
        (Work::Scrape, "scrape"),
        (Work::ScrapeMix, "scrape-mix"),
    ];

    pub(crate) fn from_word(word: &str) -> Option<Work> {
        Work::ALL.into_iter().find(|(_, known)| *known == word).map(|(work, _)| work)
    }

    pub(crate) fn word(self) -> &'static str {
        Work::ALL.into_iter().find(|(work, _)| *work == self).map_or("", |(_, word)| word)
    }
}

/// Does it `times` times, in a gateway with `stored` series.
pub(crate) fn work(work: Work, stored: usize, times: u64) {
    let settings = match work {
        Work::Scrape | Work::ScrapeMix => Settings { cache_bytes: 0, ..Settings::default() },
        _ => Settings::default(),
    };
    let (gateway, grouping) = (gateway_with(settings), grouping());
    push(&gateway, &grouping, PushFormat::Text, SMALL);
    let protobuf = scrape_body(&gateway, Format::ProtobufDelimited);
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(SMALL).expect("memory");
    let (gzip, mut plain) = (encoder.finish().expect("memory"), Vec::new());
    push(&gateway, &grouping, PushFormat::Text, MEDIUM);
    match work {
        Work::ScrapeMix => fill_mix(&gateway, stored),
        _ => fill(&gateway, stored),
    }
    for _ in 0..times {
        match work {
            Work::Text => push(&gateway, &grouping, PushFormat::Text, SMALL),
            Work::Text200 => push(&gateway, &grouping, PushFormat::Text, MEDIUM),
            Work::Protobuf => push(&gateway, &grouping, PushFormat::Protobuf, &protobuf),
            Work::Gunzip => {
                compress::decode(Coding::Gzip, &gzip, usize::MAX, &mut plain).expect("a body");
            }
            Work::Scrape | Work::ScrapeMix => {
                _ = scrape(&gateway, Format::Text004, Compression::Identity)
            }
        }
    }
}

/// The body of a scrape, in one piece.
pub(crate) fn scrape_body(gateway: &Gateway, format: Format) -> Vec<u8> {
    let mut scrape = gateway.scrape(request(format, Compression::Identity)).expect("memory");
    let mut body = Vec::new();
    while let Some(piece) = scrape.next_piece().expect("memory") {
        body.extend_from_slice(&piece);
    }
    body
}
