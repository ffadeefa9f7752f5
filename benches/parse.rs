//! Reading pushes, in bytes per second. `tokenise` is the scanner alone; `parse` fills an exposition
//! whose buffers have grown, as those of a worker thread have.
//!
//! The corpus looks like pushes do: `small` is one function's (4 counters, a gauge, a histogram; 13
//! samples), `medium` a web service's (200 samples, of which 112 belong to histograms).

#![expect(clippy::unwrap_used, reason = "a corpus that is refused must stop the benchmark")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tallygate::format::openmetrics::{self, OpenMetricsOptions};
use tallygate::format::text::{self, TextOptions};
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
    group.finish();
}

criterion_group!(benches, tokenise, parse);
criterion_main!(benches);
