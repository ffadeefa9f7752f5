//! 14: every scraper sees exactly the growth that was pushed, even by series that are pushed only once
//! or expire in between.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tallygate::format::compress::Compression;
use tallygate::format::escaping::Escaping;
use tallygate::format::negotiate::{Format, PushFormat};
use tallygate::gateway::{Content, Gateway, PushRequest, ScrapeRequest, Scraper, Settings};
use tallygate::model::{Grouping, Ttl};
use tallygate::telemetry::Telemetry;

use super::common::cases;

#[derive(Clone, Debug)]
enum Step {
    /// A series and its growth.
    Push(usize, u32),
    Scrape(usize),
    /// A scrape without an identity, which must not make a difference.
    Look,
    /// Milliseconds.
    Pass(i64),
    Expire,
}

const TTL: Duration = Duration::from_secs(5);

/// The most time that passes: no series waits for scrapers for more than ten times its time to live.
const TIME_MAX_MS: i64 = 45_000;

const SCRAPERS: usize = 3;

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..12_usize, 0..1000_u32).prop_map(|(series, value)| Step::Push(series, value)),
        2 => (0..SCRAPERS).prop_map(Step::Scrape),
        1 => Just(Step::Look),
        2 => prop_oneof![1..200_i64, 1000..8000_i64].prop_map(Step::Pass),
        2 => Just(Step::Expire),
    ]
}

/// Three kinds, two families of each, two series of each family. All samples of the series get the
/// value, and it is added to each of them in `pushed`.
fn push(gateway: &Gateway, series: usize, value: u32, pushed: &mut BTreeMap<String, f64>) {
    const BUCKETS: [(&str, &str); 2] = [("_bucket", ",le=\"1\""), ("_bucket", ",le=\"+Inf\"")];
    const TOTALS: [(&str, &str); 2] = [("_sum", ""), ("_count", "")];
    let (family, label) = (series % 2, series / 6);
    let (name, kind, samples) = match series / 2 % 3 {
        0 => (format!("a{family}_total"), "counter", vec![("", "")]),
        1 => (format!("s{family}"), "summary", TOTALS.to_vec()),
        _ => (format!("h{family}"), "histogram", [BUCKETS, TOTALS].concat()),
    };
    let mut body = format!("# TYPE {name} {kind}\n");
    for (suffix, bound) in samples {
        let sample = format!("{name}{suffix}{{l=\"{label}\"{bound}}}");
        body += &format!("{sample} {value}\n");
        *pushed.entry(sample).or_default() += f64::from(value);
    }
    let grouping = Grouping::default();
    gateway.push(&PushRequest::new(&grouping, PushFormat::Text, body.as_bytes())).unwrap();
}

fn gateway() -> Gateway {
    let settings = Settings { ttl_default: Ttl::After(TTL), ..Settings::default() };
    Gateway::new(settings, Arc::new(Telemetry::new(0)))
}

/// Samples by name and labels.
fn scrape(gateway: &Gateway, scraper: Option<usize>) -> BTreeMap<String, f64> {
    let wanted = ScrapeRequest {
        format: Format::Text004,
        escaping: Escaping::AllowUtf8,
        compression: Compression::Identity,
        selectors: Vec::new(),
        content: Content::Pushed,
    };
    let scraper = scraper.map(|number| Scraper { identity: number.to_string(), timeout_ms: 0 });
    let mut scrape = gateway.scrape_of(wanted, scraper.as_ref()).unwrap();
    let mut text = Vec::new();
    while let Some(piece) = scrape.next_piece().unwrap() {
        text.extend_from_slice(&piece);
    }
    let text = String::from_utf8(text).unwrap();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        (series.to_owned(), value.parse().unwrap())
    };
    samples.map(sample).collect()
}

/// What Prometheus sees: the first sample of a series only sets the level.
#[derive(Clone, Default)]
struct Seen {
    last: BTreeMap<String, f64>,
    growth: BTreeMap<String, f64>,
}

impl Seen {
    fn take(&mut self, samples: BTreeMap<String, f64>) {
        for (series, value) in samples {
            if let Some(last) = self.last.insert(series.clone(), value) {
                // A value that falls was reset to zero.
                let growth = if value < last { value } else { value - last };
                *self.growth.entry(series).or_default() += growth;
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn every_scraper_sees_all_growth(steps in prop::collection::vec(step(), 1..60)) {
        let gateway = gateway();
        let (mut pushed, mut time_left_ms) = (BTreeMap::new(), TIME_MAX_MS);
        let mut seen = vec![Seen::default(); SCRAPERS];
        let visit = |seen: &mut Vec<Seen>, number: usize| {
            seen[number].take(scrape(&gateway, Some(number)));
        };
        (0..SCRAPERS).for_each(|number| visit(&mut seen, number));
        for step in steps {
            match step {
                Step::Push(series, value) => push(&gateway, series, value, &mut pushed),
                Step::Scrape(scraper) => visit(&mut seen, scraper),
                Step::Look => _ = scrape(&gateway, None),
                Step::Pass(ms) => {
                    let ms = ms.min(time_left_ms);
                    time_left_ms -= ms;
                    gateway.clock().advance(ms);
                }
                Step::Expire => _ = gateway.expire(),
            }
        }
        // The next scrapes of each show everything; a value from the moment of a scrape may come one
        // scrape later.
        for _ in 0..3 {
            gateway.clock().advance(1000);
            (0..SCRAPERS).for_each(|number| visit(&mut seen, number));
        }
        pushed.retain(|_, value| *value > 0.0);
        for mut seen in seen {
            seen.growth.retain(|_, growth| *growth > 0.0);
            prop_assert_eq!(&seen.growth, &pushed);
        }
    }
}

/// A series stays until all scrapers have seen it, but not for ever.
#[test]
fn what_nobody_scrapes_goes_in_the_end() {
    let gateway = gateway();
    let ttl_ms = TTL.as_millis() as i64;
    let pass = |ms| {
        gateway.clock().advance(ms);
        gateway.expire().series
    };
    scrape(&gateway, Some(0));
    push(&gateway, 0, 1, &mut BTreeMap::new());
    assert_eq!(pass(5 * ttl_ms), 0, "it was never shown");
    scrape(&gateway, Some(0));
    assert_eq!(pass(1000), 0, "it was shown at zero");
    scrape(&gateway, Some(0));
    assert_eq!(pass(1000), 1);

    push(&gateway, 0, 1, &mut BTreeMap::new());
    assert_eq!(pass(9 * ttl_ms), 0);
    assert_eq!(pass(ttl_ms + 2000), 1, "ten times its time");

    // Without any scraper, nothing waits.
    pass(3_600_000);
    push(&gateway, 0, 1, &mut BTreeMap::new());
    assert_eq!(pass(ttl_ms + 2000), 1);
}

/// 14, even if a push creates so many series, or waits so long for another, that scrapes begin and end
/// in the meantime.
#[test]
fn scrapers_see_the_growth_of_pushes_that_take_their_time() {
    const SERIES: usize = 10_000;
    let gateway = Gateway::new(Settings::default(), Arc::new(Telemetry::new(0)));
    let mut seen = Seen::default();
    seen.take(scrape(&gateway, Some(0)));
    std::thread::scope(|scope| {
        let push = |pusher: usize| {
            let mut body = "# TYPE a_total counter\n".to_owned();
            for at in 0..SERIES {
                body += &format!("a_total{{pusher=\"{pusher}\",at=\"{at}\"}} 1\n");
            }
            let grouping = Grouping::default();
            gateway.push(&PushRequest::new(&grouping, PushFormat::Text, body.as_bytes())).unwrap();
        };
        let pushers = [0, 1, 2].map(|pusher| scope.spawn(move || push(pusher)));
        while !pushers.iter().all(|pusher| pusher.is_finished()) {
            seen.take(scrape(&gateway, Some(0)));
        }
    });
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(150));
        seen.take(scrape(&gateway, Some(0)));
    }
    assert_eq!(seen.growth.len(), 3 * SERIES);
    let missed = seen.growth.values().filter(|growth| **growth != 1.0).count();
    assert_eq!(missed, 0, "series whose first push no increase() contains");
}

/// 14: what was shown with its value is not shown at zero again, which would be a reset.
#[test]
fn a_clock_that_is_put_back_makes_nothing_fall() {
    let gateway = Gateway::new(Settings::default(), Arc::new(Telemetry::new(0)));
    let sees = |ms| {
        gateway.clock().advance(ms);
        scrape(&gateway, Some(0)).into_values().collect::<Vec<_>>()
    };
    sees(0);
    push(&gateway, 0, 5, &mut BTreeMap::new());
    assert_eq!(sees(1_000), [0.0]);
    for ms in [1_000, -3_600_000, 1_000, 1_000, 7_200_000] {
        assert_eq!(sees(ms), [5.0], "after {ms} ms");
    }
}

/// Nor does a series that is born meanwhile stay at zero until the clock has caught up.
#[test]
fn a_clock_that_is_put_back_holds_nothing_back() {
    let gateway = Gateway::new(Settings::default(), Arc::new(Telemetry::new(0)));
    let sees = |ms| {
        gateway.clock().advance(ms);
        scrape(&gateway, Some(0)).into_values().collect::<Vec<_>>()
    };
    sees(0);
    gateway.clock().advance(-3_600_000);
    push(&gateway, 0, 5, &mut BTreeMap::new());
    assert_eq!(sees(1_000), [0.0]);
    assert_eq!(sees(1_000), [5.0]);
}

/// And what is pushed meanwhile is not taken for seen because an earlier scrape has a later time.
#[test]
fn a_clock_that_is_put_back_forgets_nothing_unseen() {
    let gateway = gateway();
    let ttl_ms = TTL.as_millis() as i64;
    let pass = |ms| {
        gateway.clock().advance(ms);
        gateway.expire().series
    };
    scrape(&gateway, Some(0));
    gateway.clock().advance(-3_600_000);
    push(&gateway, 0, 1, &mut BTreeMap::new());
    assert_eq!(pass(5 * ttl_ms), 0, "it was never shown");
    for _ in 0..2 {
        scrape(&gateway, Some(0));
        gateway.clock().advance(3_000);
    }
    assert_eq!(pass(3_000), 1);
}
