//! What a push and a scrape allocate, which unlike their time is the same on every machine: a
//! guard against costs that grow with the samples of a push or with what is stored.

use std::fmt::Write as _;
use std::sync::Arc;

use tallygate::format::Timestamps;
use tallygate::format::compress::Compression;
use tallygate::format::escaping::Escaping;
use tallygate::format::negotiate::{Format, PushFormat};
use tallygate::gateway::{Content, Gateway, Limits, PushRequest, ScrapeRequest, Settings};
use tallygate::model::{GaugeRule, Grouping, Ttl, UntypedRule};
use tallygate::rules::Rules;
use tallygate::telemetry::Telemetry;

const SMALL: &str = include_str!("../benches/corpus/small.txt");
const MEDIUM: &str = include_str!("../benches/corpus/medium.txt");
const MEDIUM_OPENMETRICS: &str = include_str!("../benches/corpus/medium.om.txt");

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

fn push(gateway: &Gateway, grouping: &Grouping, format: PushFormat, body: &str) {
    let body = body.as_bytes();
    let request = PushRequest { grouping, format, body, merge: None, ttl: None, time: None };
    gateway.push(&request).expect("accepted");
}

/// Allocations of one push to series that are known, with buffers that have grown.
fn allocations_of_push(gateway: &Gateway, format: PushFormat, body: &str) -> u64 {
    let grouping = Grouping::new([("job", "checkout"), ("instance", "10.0.3.17")]).expect("a key");
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
    // An exemplar owns its labels; apart from that OpenMetrics takes a table of names.
    let openmetrics = allocations_of_push(&gateway, PushFormat::OpenMetrics, MEDIUM_OPENMETRICS);
    let plain: String = MEDIUM_OPENMETRICS
        .lines()
        .map(|line| format!("{}\n", line.split(" # {").next().unwrap_or(line)))
        .collect();
    let without_exemplars = allocations_of_push(&gateway, PushFormat::OpenMetrics, &plain);
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
    scrape(&gateway);
    let counted = allocation_counter::measure(|| scrape(&gateway));
    assert!(counted.count_total < 2_000, "{} allocations", counted.count_total);
    assert!(counted.bytes_max < 4 << 20, "{} bytes at once", counted.bytes_max);
}

/// One family of counters.
fn fill(gateway: &Gateway, series: usize) {
    let mut body = String::from("# TYPE requests_total counter\n");
    for at in 0..series {
        let _ = writeln!(body, "requests_total{{path=\"/api/v1/items/{at:07}\"}} 17");
    }
    push(gateway, &Grouping::default(), PushFormat::Text, &body);
}

fn scrape(gateway: &Gateway) {
    let wanted = ScrapeRequest {
        format: Format::Text004,
        escaping: Escaping::default(),
        compression: Compression::Identity,
        selectors: Vec::new(),
        content: Content::Pushed,
    };
    let mut scrape = gateway.scrape(wanted).expect("memory");
    while scrape.next_piece().expect("memory").is_some() {}
}
