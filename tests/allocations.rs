//! Counts the allocations of pushes and scrapes, which unlike their time are the same on every machine:
//! a guard against costs that grow with the samples of a push or with what is stored.

#[path = "../benches/common/mod.rs"]
mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{MEDIUM, SMALL, fill, gateway, grouping, push};
use tallygate::format::compress::Compression;
use tallygate::format::negotiate::{Format, PushFormat};
use tallygate::gateway::{Gateway, Identity, Key, PushId, PushRequest, Settings};
use tallygate::model::{Grouping, Ttl};
use tallygate::persistence::disk::Disk;
use tallygate::persistence::{Ack, Batch, Commits, Engine};
use tallygate::telemetry::Telemetry;

const MEDIUM_OPENMETRICS: &str = include_str!("../benches/corpus/medium.om.txt");

/// The allocations of one push to known series, with buffers that have grown.
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
    // Exemplars own their labels, and OpenMetrics needs a table of names.
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
    // Keep nothing for later scrapes: that has a limit of its own.
    gateway.set_settings(Settings { cache_bytes: 0, ..Settings::default() });
    scrape(&gateway);
    let counted = allocation_counter::measure(|| _ = scrape(&gateway));
    assert!(counted.count_total < 2_000, "{} allocations", counted.count_total);
    assert!(counted.bytes_max < 4 << 20, "{} bytes at once", counted.bytes_max);
}

fn scrape(gateway: &Gateway) -> usize {
    common::scrape(gateway, Format::Text004, Compression::Identity)
}

/// The memory that 1,000 grouping keys with this body hold, per line, without overhead of the
/// allocator.
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

/// A few instances push the same 400 series with a time to live, which all expire, and then others with
/// different labels. However often this happens, it leaves nothing behind.
#[test]
fn what_comes_and_goes_leaves_nothing_behind() {
    const ROUNDS: usize = 30;
    for (kept, scraped) in [(false, true), (true, false)] {
        let settings = Settings {
            ttl_default: Ttl::from_duration(Duration::from_secs(5)),
            key_window_ms: 20_000,
            ..Settings::default()
        };
        let commits = if kept { Commits::new(Ack::Synced) } else { Commits::default() };
        let gateway =
            Gateway::with_commits(settings, Arc::new(Telemetry::new(0)), Arc::new(commits));
        let path = std::env::temp_dir().join(format!("tallygate-churn-{}", std::process::id()));
        let mut engine = kept.then(|| Disk::open(&path).expect("a store"));
        let mut commit = match &mut engine {
            Some(engine) => gateway.load(engine, &mut |_| {}).expect("it is empty").commit,
            None => 0,
        };
        // One series stays, and with it the family.
        let staying = b"# TYPE jobs_total counter\njobs_total 1\n";
        let grouping = Grouping::default();
        let request = PushRequest::new(&grouping, PushFormat::Text, staying);
        gateway.push(&PushRequest { ttl: Some(Ttl::Never), ..request }).expect("accepted");
        let mut held = Vec::new();
        for round in 0..ROUNDS {
            let counted = allocation_counter::measure(|| {
                for instance in 0..3 {
                    come(&gateway, round, instance);
                }
                if scraped {
                    scrape(&gateway);
                }
                if let Some(engine) = &mut engine {
                    let mut batch = Batch::default();
                    gateway.collect(&mut batch);
                    commit += 1;
                    engine.write(commit, &batch).expect("there is room");
                    engine.sync().expect("there is room");
                }
                gateway.clock().advance(10_000);
                assert_eq!(gateway.expire().series, 1_200);
            });
            held.push(counted.bytes_current);
        }
        // By then, everything that may grow has grown, such as the texts that are kept for later
        // series. The engine holds on to copies for a while; a leak would be a few bytes per series.
        let late = held[ROUNDS / 2..].iter().filter(|&&bytes| bytes > 2_400);
        assert!(late.count() <= 3, "kept: {kept}, scraped: {scraped}, by round: {held:?}");
        if engine.is_some() {
            std::fs::remove_dir_all(&path).expect("ours");
        }
    }
}

/// 400 series of one instance.
fn come(gateway: &Gateway, round: usize, instance: usize) {
    use std::fmt::Write as _;

    let mut body = String::from("# TYPE jobs_total counter\n");
    for at in 0..400 {
        let run = round * 1_000 + at;
        let _ = writeln!(body, "jobs_total{{run=\"0f5b2c9e-{run:08}\",zone=\"eu-west-1\"}} 1");
    }
    let instance = format!("i{instance}");
    let grouping = Grouping::new([("job", "j"), ("instance", &*instance)]).expect("a key");
    let key = format!("{round}-{instance}");
    let id = PushId::Key(Key::parse(key.as_bytes()).expect("a key"));
    let identity = Some(Identity { principal: None, id: &id });
    let request = PushRequest::new(&grouping, PushFormat::Text, body.as_bytes());
    gateway.push(&PushRequest { identity, ..request }).expect("accepted");
}
