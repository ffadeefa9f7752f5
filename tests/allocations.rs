//! What a push and a scrape allocate, which unlike their time is the same on every machine: a
//! guard against costs that grow with the samples of a push or with what is stored.

#[path = "../benches/common/mod.rs"]
mod common;

use common::{MEDIUM, SMALL, fill, gateway, grouping, push};
use tallygate::format::compress::Compression;
use tallygate::format::negotiate::{Format, PushFormat};
use tallygate::gateway::{Gateway, Settings};
use tallygate::model::Grouping;

const MEDIUM_OPENMETRICS: &str = include_str!("../benches/corpus/medium.om.txt");

/// Allocations of one push to series that are known, with buffers that have grown.
fn allocations_of_push(gateway: &Gateway, format: PushFormat, body: &[u8]) -> u64 {
    let grouping = grouping();
    for _ in 0..3 {
        push(gateway, &grouping, format, body);
    }
    let counted = allocation_counter::measure(|| push(gateway, &grouping, format, body));
    counted.count_total
}

#[test]
fn a_push_to_known_series_allocates_the_same_for_13_and_200_samples() {
    let gateway = gateway();
    let small = allocations_of_push(&gateway, PushFormat::Text, SMALL);
    let medium = allocations_of_push(&gateway, PushFormat::Text, MEDIUM);
    assert!(small <= 2, "13 samples: {small} allocations");
    assert!(medium <= 3, "200 samples: {medium} allocations");
    let protobuf = common::scrape_body(&gateway, Format::ProtobufDelimited);
    let protobuf = allocations_of_push(&gateway, PushFormat::Protobuf, &protobuf);
    assert!(protobuf <= 2, "as protobuf: {protobuf} allocations");
    // An exemplar owns its labels; apart from that OpenMetrics takes a table of names.
    let openmetrics =
        allocations_of_push(&gateway, PushFormat::OpenMetrics, MEDIUM_OPENMETRICS.as_bytes());
    let plain: String = MEDIUM_OPENMETRICS
        .lines()
        .map(|line| format!("{}\n", line.split(" # {").next().unwrap_or(line)))
        .collect();
    let without_exemplars =
        allocations_of_push(&gateway, PushFormat::OpenMetrics, plain.as_bytes());
    assert!(without_exemplars <= 10, "200 samples of OpenMetrics: {without_exemplars} allocations");
    let exemplars = MEDIUM_OPENMETRICS.matches(" # {").count() as u64;
    let each = (openmetrics - without_exemplars).div_ceil(exemplars);
    assert!(each <= 2, "an exemplar: {each} allocations");
}

#[test]
fn what_is_stored_does_not_matter_to_a_push() {
    let gateway = gateway();
    let before = allocations_of_push(&gateway, PushFormat::Text, SMALL);
    fill(&gateway, 50_000);
    assert_eq!(allocations_of_push(&gateway, PushFormat::Text, SMALL), before);
}

#[test]
fn a_scrape_allocates_by_pieces_and_not_by_series() {
    let gateway = gateway();
    fill(&gateway, 50_000);
    // What is kept for later scrapes has a limit of its own.
    gateway.set_settings(Settings { cache_bytes: 0, ..Settings::default() });
    scrape(&gateway);
    let counted = allocation_counter::measure(|| _ = scrape(&gateway));
    assert!(counted.count_total < 2_000, "{} allocations", counted.count_total);
    assert!(counted.bytes_max < 4 << 20, "{} bytes at once", counted.bytes_max);
}

fn scrape(gateway: &Gateway) -> usize {
    common::scrape(gateway, Format::Text004, Compression::Identity)
}

/// What 1,000 grouping keys with this body hold, per line; without what the allocator adds.
fn bytes_per_line(body: &[u8]) -> i64 {
    const GROUPS: i64 = 1_000;
    let lines = body
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty() && !line.starts_with(b"#"));
    let lines = lines.count() as i64;
    let gateway = gateway();
    let counted = allocation_counter::measure(|| {
        for instance in 0..GROUPS {
            let instance = format!("i{instance:07}");
            let grouping = Grouping::new([("job", "checkout"), ("instance", &*instance)])
                .expect("a grouping key");
            push(&gateway, &grouping, PushFormat::Text, body);
        }
    });
    counted.bytes_current / (GROUPS * lines)
}

#[test]
fn a_line_takes_few_bytes() {
    let counter = "# TYPE orders_total counter\norders_total{region=\"eu-central-1\"} 17\n";
    let histogram: String = {
        let text = String::from_utf8_lossy(SMALL);
        let lines = text.lines().filter(|line| line.contains("checkout_duration_seconds"));
        lines.map(|line| format!("{line}\n")).collect()
    };
    for (what, body, bytes_max) in [
        ("the mix", SMALL, 74),
        ("a counter and its group", counter.as_bytes(), 264),
        ("a line of a histogram, and its group", histogram.as_bytes(), 42),
    ] {
        let bytes = bytes_per_line(body);
        assert!(bytes <= bytes_max, "{what}: {bytes} bytes");
    }
}
