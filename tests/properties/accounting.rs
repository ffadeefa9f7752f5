//! 14: what each scraper has seen grow is what was pushed, also by series that are pushed only once.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use tallygate::format::compress::Compression;
use tallygate::format::escaping::Escaping;
use tallygate::format::negotiate::{Format, PushFormat};
use tallygate::gateway::{Content, Gateway, PushRequest, ScrapeRequest, Scraper, Settings};
use tallygate::model::Grouping;
use tallygate::telemetry::Telemetry;

use super::common::cases;

#[derive(Clone, Debug)]
enum Step {
    /// Adds to one of some series of three kinds, in one of two families each.
    Push {
        series: u32,
        value: u32,
    },
    Scrape {
        scraper: usize,
    },
    /// By somebody who must not make a difference.
    Look,
    Pass {
        ms: i64,
    },
}

const SCRAPERS: usize = 3;

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..12_u32, 0..1000_u32).prop_map(|(series, value)| Step::Push { series, value }),
        2 => (0..SCRAPERS).prop_map(|scraper| Step::Scrape { scraper }),
        1 => Just(Step::Look),
        2 => prop_oneof![1..200_i64, 1000..100_000_i64].prop_map(|ms| Step::Pass { ms }),
    ]
}

fn push(gateway: &Gateway, series: u32, value: u32) {
    let (family, label) = (series % 2, series / 6);
    let body = match series / 2 % 3 {
        0 => format!("# TYPE a{family}_total counter\na{family}_total{{l=\"{label}\"}} {value}\n"),
        1 => format!(
            "# TYPE s{family} summary\ns{family}_sum{{l=\"{label}\"}} {value}\n\
             s{family}_count{{l=\"{label}\"}} {value}\n"
        ),
        _ => format!(
            "# TYPE h{family} histogram\nh{family}_bucket{{l=\"{label}\",le=\"1\"}} {value}\n\
             h{family}_bucket{{l=\"{label}\",le=\"+Inf\"}} {value}\n\
             h{family}_sum{{l=\"{label}\"}} {value}\n"
        ),
    };
    let grouping = Grouping::default();
    gateway.push(&PushRequest::new(&grouping, PushFormat::Text, body.as_bytes())).unwrap();
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
    let scraper = scraper.map(|number| Scraper { identity: [number as u8].into(), timeout_ms: 0 });
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

/// As Prometheus sees it: the first sample of a series only sets the level.
#[derive(Clone, Default)]
struct Seen {
    last: BTreeMap<String, f64>,
    growth: BTreeMap<String, f64>,
}

impl Seen {
    fn take(&mut self, samples: BTreeMap<String, f64>) {
        for (series, value) in samples {
            if let Some(last) = self.last.insert(series.clone(), value) {
                assert!(value >= last, "{series} falls from {last} to {value}");
                *self.growth.entry(series).or_default() += value - last;
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn every_scraper_sees_all_growth(steps in prop::collection::vec(step(), 1..60)) {
        let gateway = Gateway::new(Settings::default(), Arc::new(Telemetry::new(0)));
        let mut seen = vec![Seen::default(); SCRAPERS];
        let visit = |seen: &mut Vec<Seen>, number: usize| {
            seen[number].take(scrape(&gateway, Some(number)));
        };
        (0..SCRAPERS).for_each(|number| visit(&mut seen, number));
        for step in steps {
            match step {
                Step::Push { series, value } => push(&gateway, series, value),
                Step::Scrape { scraper } => visit(&mut seen, scraper),
                Step::Look => _ = scrape(&gateway, None),
                Step::Pass { ms } => gateway.clock().advance(ms),
            }
        }
        // The next scrapes of each tell it all; of the same moment a value may be told a scrape later.
        for _ in 0..3 {
            gateway.clock().advance(1000);
            (0..SCRAPERS).for_each(|number| visit(&mut seen, number));
        }
        let mut stored = scrape(&gateway, None);
        stored.retain(|_, value| *value > 0.0);
        for mut seen in seen {
            seen.growth.retain(|_, growth| *growth > 0.0);
            prop_assert_eq!(&seen.growth, &stored);
        }
    }
}
