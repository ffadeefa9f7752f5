//! Writing scrapes: 10 000 counters and 1 000 histograms in each format, and compressing them.
//!
//! `cargo bench --bench encode`. Throughput is bytes written; divide the time by the number of
//! series for the cost of one.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tallygate::format::compress::{self, Compression, Levels};
use tallygate::format::encode::{Encoder, Options, Plan};
use tallygate::format::escaping::Escaping;
use tallygate::format::negotiate::Format;
use tallygate::model::reading::BucketReading;
use tallygate::model::{FamilyHead, HistogramReading, Kind, NativeBuckets, Number, Reading};

const COUNTERS: usize = 10_000;
const HISTOGRAMS: usize = 1_000;

/// How much of a scrape is written at a time.
const CHUNK: usize = 64 << 10;

/// Labels like those of a service's requests: 60 to 90 bytes.
fn labels(at: usize) -> String {
    let method = ["GET", "POST", "PUT", "DELETE"][at % 4];
    let code = [200, 201, 400, 404, 500][at / 4 % 5];
    format!(
        "code=\"{code}\",handler=\"/api/v1/items/{}\",instance=\"worker-{}\",job=\"orders\",\
         method=\"{method}\"",
        at / 20 % 50,
        at / 1000,
    )
}

struct Series {
    labels: String,
    value: f64,
    histogram: Option<HistogramReading>,
}

/// Half the values are whole, as counts are, and half are not, as times are.
fn counters() -> Vec<Series> {
    (0..COUNTERS)
        .map(|at| {
            let whole = (at * 7919 % 3_000_000) as f64;
            let value = if at % 2 == 0 { whole } else { whole / 1000.0 + 0.000_1 };
            Series { labels: labels(at), value, histogram: None }
        })
        .collect()
}

/// Python's 14 default bounds and `+Inf`.
fn histograms(native: bool) -> Vec<Series> {
    const BOUNDS: [f64; 15] = [
        0.005,
        0.01,
        0.025,
        0.05,
        0.075,
        0.1,
        0.25,
        0.5,
        0.75,
        1.0,
        2.5,
        5.0,
        7.5,
        10.0,
        f64::INFINITY,
    ];
    (0..HISTOGRAMS)
        .map(|at| {
            let bucket = |(nth, &upper_bound): (usize, &f64)| BucketReading {
                upper_bound,
                cumulative_count: Number::Int((at * 37 + nth * 1009) as u64),
                exemplar: None,
            };
            let count = (at * 37 + 14 * 1009) as u64;
            let buckets =
                if native { vec![] } else { BOUNDS.iter().enumerate().map(bucket).collect() };
            let native = native.then(|| NativeBuckets {
                schema: 3,
                zero_threshold: 1e-128,
                zero_count: Number::Int(1),
                positive: (-40..40_i32)
                    .map(|at| (at, Number::Int(at.unsigned_abs().into())))
                    .collect(),
                negative: vec![],
            });
            let histogram = HistogramReading {
                count: Number::Int(count),
                sum: Some(count as f64 * 0.123),
                buckets,
                native,
                exemplars: vec![],
            };
            Series { labels: labels(at), value: 0.0, histogram: Some(histogram) }
        })
        .collect()
}

fn write(options: Options, kind: Kind, series: &[Series], out: &mut Vec<u8>) -> usize {
    let name = "http_request_duration_seconds_total";
    let head = FamilyHead { name, kind, help: "Time spent in requests.", unit: "seconds" };
    let plan = Plan::new(options, [head]);
    let mut encoder = Encoder::new(options);
    let mut written = 0;
    out.clear();
    encoder.begin_family(plan.get(0).expect("nothing to clash with"));
    for series in series {
        let reading = match &series.histogram {
            Some(histogram) => Reading::Histogram(histogram),
            None => Reading::Counter { value: series.value, exemplar: None },
        };
        encoder.series(out, series.labels.as_bytes(), &reading, Some(1_700_000_000_000));
        if out.len() >= CHUNK {
            written += out.len();
            out.clear();
        }
    }
    encoder.end_family(out);
    encoder.finish(out);
    written + out.len()
}

fn encode(c: &mut Criterion) {
    let cases = [
        ("counters", Kind::Counter, counters()),
        ("histograms", Kind::Histogram, histograms(false)),
        ("native_histograms", Kind::Histogram, histograms(true)),
    ];
    for (name, kind, series) in &cases {
        let mut group = c.benchmark_group(format!("encode/{name}"));
        for (format_name, format, escaping) in [
            ("text", Format::Text004, Escaping::AllowUtf8),
            ("text_underscores", Format::Text004, Escaping::Underscores),
            ("openmetrics", Format::OpenMetrics100, Escaping::AllowUtf8),
            ("protobuf", Format::ProtobufDelimited, Escaping::AllowUtf8),
        ] {
            let options = Options { format, escaping, created_lines: false };
            let mut out = Vec::new();
            let bytes = write(options, *kind, series, &mut out);
            group.throughput(Throughput::Bytes(bytes as u64));
            group.bench_function(BenchmarkId::from_parameter(format_name), |b| {
                b.iter(|| write(options, *kind, series, &mut out));
            });
        }
    }
}

fn compress(c: &mut Criterion) {
    let options = Options { escaping: Escaping::AllowUtf8, ..Options::default() };
    let plan =
        Plan::new(options, [FamilyHead { name: "a", kind: Kind::Counter, help: "", unit: "" }]);
    let mut encoder = Encoder::new(options);
    let mut body = Vec::new();
    encoder.begin_family(plan.get(0).expect("nothing to clash with"));
    for series in counters() {
        let reading = Reading::Counter { value: series.value, exemplar: None };
        encoder.series(&mut body, series.labels.as_bytes(), &reading, None);
    }

    let mut group = c.benchmark_group("compress/text_counters");
    group.throughput(Throughput::Bytes(body.len() as u64));
    for (compression, level) in [
        (Compression::Gzip, 1),
        (Compression::Gzip, 3),
        (Compression::Gzip, 6),
        (Compression::Zstd, 1),
        (Compression::Zstd, 3),
    ] {
        let levels = Levels { gzip: level, zstd: level as i32 };
        let run = |out: &mut Vec<u8>| {
            out.clear();
            let mut encoder = compress::Encoder::new(compression, levels).expect("memory");
            for chunk in body.chunks(CHUNK) {
                let chunk = encoder.chunk(&mut chunk.to_vec()).expect("memory");
                out.extend_from_slice(&chunk.bytes);
            }
            out.len()
        };
        let mut out = Vec::new();
        let percent = run(&mut out) * 1000 / body.len();
        let name = compression.name().unwrap_or_default();
        let id = BenchmarkId::new(name, format!("{level}_to_{}.{}%", percent / 10, percent % 10));
        group.bench_function(id, |b| b.iter(|| run(&mut out)));
    }
}

criterion_group!(benches, encode, compress);
criterion_main!(benches);
