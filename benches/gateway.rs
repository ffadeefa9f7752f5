//! Whole pushes and scrapes in process, without HTTP, at several sizes of the store. A push must
//! cost what it brings, whatever is stored.

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tallygate::format::Timestamps;
use tallygate::format::compress::Compression;
use tallygate::format::escaping::Escaping;
use tallygate::format::negotiate::{Format, PushFormat};
use tallygate::gateway::{Content, Gateway, Limits, PushRequest, ScrapeRequest, Settings};
use tallygate::model::{GaugeRule, Grouping, Ttl, UntypedRule};
use tallygate::rules::Rules;
use tallygate::telemetry::Telemetry;

const SMALL: &[u8] = include_bytes!("corpus/small.txt");
const MEDIUM: &[u8] = include_bytes!("corpus/medium.txt");

fn gateway() -> Gateway {
    let settings = Settings {
        timestamps: Timestamps::Reject,
        gauge: GaugeRule::Last,
        untyped: UntypedRule::Sum,
        merge_hint: true,
        delete: true,
        rules: Rules::default(),
        ttl_default: Ttl::Never,
        ttl_client_max: Ttl::Never,
        gzip_level: 1,
        created_samples: false,
        native_buckets: 160,
        limits: Limits::default(),
    };
    Gateway::new(settings, Arc::new(Telemetry::new(0)))
}

fn push(gateway: &Gateway, grouping: &Grouping, format: PushFormat, body: &[u8]) {
    let request = PushRequest { grouping, format, body, merge: None, ttl: None, time: None };
    gateway.push(&request).expect("accepted");
}

/// Counter series with about 60 bytes of label text.
fn fill(gateway: &Gateway, series: usize) {
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

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok());
    kib.unwrap_or(0) * 1024
}

const SIZES: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];

#[expect(clippy::print_stderr, reason = "criterion has no place for a figure that is no time")]
fn benchmarks(criterion: &mut Criterion) {
    let grouping = Grouping::new([("job", "checkout"), ("instance", "10.0.3.17")]).expect("a key");
    for size in SIZES {
        let gateway = gateway();
        let before = resident_bytes();
        fill(&gateway, size);
        let each = (resident_bytes() - before) / size;
        eprintln!("{size} series stored: {each} bytes of resident memory each");

        let mut group = criterion.benchmark_group("push");
        for (name, body) in [("13 samples", SMALL), ("200 samples", MEDIUM)] {
            group.throughput(Throughput::Bytes(body.len() as u64));
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| push(&gateway, &grouping, PushFormat::Text, black_box(body)));
            });
        }
        group.finish();

        let mut group = criterion.benchmark_group("scrape");
        group.sample_size(10);
        group.throughput(Throughput::Elements(size as u64));
        for (format, compression) in [
            (Format::Text004, Compression::Identity),
            (Format::OpenMetrics100, Compression::Identity),
            (Format::ProtobufDelimited, Compression::Identity),
            (Format::Text004, Compression::Gzip),
            (Format::Text004, Compression::Zstd),
        ] {
            let name = format!("{format:?} {compression:?}");
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| scrape(&gateway, format, compression));
            });
        }
        group.finish();
    }
}

fn scrape(gateway: &Gateway, format: Format, compression: Compression) -> usize {
    let wanted = ScrapeRequest {
        format,
        escaping: Escaping::AllowUtf8,
        compression,
        selectors: Vec::new(),
        content: Content::Pushed,
    };
    let mut scrape = gateway.scrape(wanted).expect("memory");
    let mut bytes = 0;
    while let Some(piece) = scrape.next_piece().expect("memory") {
        bytes += black_box(piece).len();
    }
    bytes
}

criterion_group!(benches, benchmarks);
criterion_main!(benches);
