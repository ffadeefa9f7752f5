//! Whole pushes and scrapes in process, without HTTP, at several sizes of the store. The cost of a push
//! must depend only on its size, not on what is stored.

mod common;

use std::hint::black_box;

use common::{MEDIUM, SMALL, fill, gateway, grouping, push, scrape};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tallygate::format::compress::Compression;
use tallygate::format::negotiate::{Format, PushFormat};

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok());
    kib.unwrap_or(0) * 1024
}

const SIZES: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];

#[expect(clippy::print_stderr, reason = "criterion has no place for a figure that is no time")]
fn benchmarks(criterion: &mut Criterion) {
    let grouping = grouping();
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

criterion_group!(benches, benchmarks);
criterion_main!(benches);
