//! Reads pushes; the result is in bytes per second. `tokenise` is the scanner alone; `parse` fills an
//! exposition whose buffers have grown, like those of a worker thread.
//!
//! The corpus consists of typical pushes: `small` comes from a function (4 counters, a gauge, a
//! histogram; 13 samples), `medium` from a web service (200 samples, of which 112 belong to
//! histograms).

#![expect(clippy::unwrap_used, reason = "a corpus that is refused must stop the benchmark")]

mod common;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tallygate::format::compress::Compression;
use tallygate::format::negotiate::{Format, PushFormat};
use tallygate::format::openmetrics::{self, OpenMetricsOptions};
use tallygate::format::text::{self, TextOptions};
use tallygate::format::{Timestamps, protobuf};
use tallygate::model::{Exposition, Grouping};

const TEXTS: [(&str, &[u8]); 2] = [
    ("small", include_bytes!("corpus/small.txt")),
    ("medium", include_bytes!("corpus/medium.txt")),
];
const OPENMETRICS: [(&str, &[u8]); 1] = [("medium", include_bytes!("corpus/medium.om.txt"))];

fn tokenise(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tokenise");
    for (name, body) in TEXTS {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(format!("text/{name}"), |bencher| {
            bencher.iter(|| text::scan(black_box(body), TextOptions::default()).unwrap());
        });
    }
    group.finish();
}

fn parse(criterion: &mut Criterion) {
    let grouping = Grouping::new([("job", "checkout"), ("instance", "10.0.3.17:8080")]).unwrap();
    let mut exposition = Exposition::default();
    let mut group = criterion.benchmark_group("parse");
    for (name, body) in TEXTS {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(format!("text/{name}"), |bencher| {
            bencher.iter(|| {
                let builder = exposition.build(&grouping);
                text::parse(black_box(body), builder, TextOptions::default()).unwrap();
                exposition.samples()
            });
        });
    }
    for (name, body) in OPENMETRICS {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(format!("openmetrics/{name}"), |bencher| {
            bencher.iter(|| {
                let builder = exposition.build(&grouping);
                openmetrics::parse(black_box(body), builder, OpenMetricsOptions::default())
                    .unwrap();
                exposition.samples()
            });
        });
    }
    for (name, body) in TEXTS {
        let body = as_protobuf(body);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(format!("protobuf/{name}"), |bencher| {
            bencher.iter(|| {
                let builder = exposition.build(&grouping);
                protobuf::parse(black_box(&body), builder, Timestamps::Reject).unwrap();
                exposition.samples()
            });
        });
    }
    group.finish();
}

/// The same push in the other format.
fn as_protobuf(text: &[u8]) -> Vec<u8> {
    let gateway = common::gateway();
    common::push(&gateway, &Grouping::default(), PushFormat::Text, text);
    let wanted = common::request(Format::ProtobufDelimited, Compression::Identity);
    let mut scrape = gateway.scrape(wanted).unwrap();
    let mut body = Vec::new();
    while let Some(piece) = scrape.next_piece().unwrap() {
        body.extend(piece);
    }
    body
}

criterion_group!(benches, tokenise, parse);
criterion_main!(benches);
