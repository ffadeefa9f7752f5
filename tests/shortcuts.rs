//! What is remembered of earlier pushes and scrapes to make later ones cheap changes nothing: a
//! gateway that can use it and one that cannot answer the same, whatever happens to both.

#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "../benches/common/mod.rs"]
mod common;

use std::sync::Arc;

use common::request;
use proptest::prelude::*;
use tallygate::format::compress::{self, Coding, Compression};
use tallygate::format::negotiate::{Format, PushFormat};
use tallygate::gateway::{Gateway, PushRequest, Settings};
use tallygate::model::{GaugeRule, Grouping};
use tallygate::telemetry::Telemetry;

/// Bodies; `@` are values. Some refuse each other, by type or by a missing sum.
const FORMS: [&str; 6] = [
    "# TYPE a_total counter\na_total{x=\"1\"} @\na_total{x=\"2\"} @\n# TYPE g gauge\ng @\n",
    "# HELP a_total Things.\n# TYPE a_total counter\na_total{x=\"1\"} @\n",
    "# TYPE h histogram\nh_bucket{le=\"1\"} @\nh_bucket{le=\"+Inf\"} 99\nh_sum @\nh_count 99\n",
    "# TYPE h histogram\nh_bucket{le=\"2\"} @\nh_bucket{le=\"+Inf\"} 99\nh_sum @\nh_count 99\n",
    "a_total{x=\"1\"} @\n# TYPE s summary\ns_sum @\ns_count 7\n",
    "# TYPE g counter\ng{job=\"body\"} @\ng{job=\"other\"} @\n",
];

#[derive(Clone, Debug)]
enum Step {
    Push {
        form: usize,
        group: usize,
        values: Vec<String>,
        gauge: Option<GaugeRule>,
        protobuf: bool,
    },
    DeleteGroup(usize),
    DeleteFamily(usize),
    Wipe,
    Settings {
        gauge: GaugeRule,
        samples: usize,
    },
    Scrape,
}

fn step() -> impl Strategy<Value = Step> {
    let value = prop_oneof![
        8 => (0_u32..50).prop_map(|value| value.to_string()),
        1 => "-?[0-9]{1,3}\\.[0-9]{1,3}|NaN|x||1e3|[0-9]{17,20}",
    ];
    let gauge = prop_oneof![Just(GaugeRule::Last), Just(GaugeRule::Sum), Just(GaugeRule::Max)];
    let values = prop::collection::vec(value, 3);
    let asked = prop::option::weighted(0.1, gauge.clone());
    prop_oneof![
        30 => (0..FORMS.len(), 0_usize..3, values, asked, prop::bool::weighted(0.3)).prop_map(
            |(form, group, values, gauge, protobuf)| {
                Step::Push { form, group, values, gauge, protobuf }
            }
        ),
        2 => (0_usize..3).prop_map(Step::DeleteGroup),
        2 => (0_usize..3).prop_map(Step::DeleteFamily),
        1 => Just(Step::Wipe),
        1 => (gauge, prop_oneof![Just(0_usize), Just(3)])
            .prop_map(|(gauge, samples)| Step::Settings { gauge, samples }),
        6 => Just(Step::Scrape),
    ]
}

fn grouping(at: usize) -> Grouping {
    // The second one makes one series of two in the last form, which is refused.
    let pairs: [&[(&str, &str)]; 3] = [&[], &[("job", "j")], &[("instance", "i"), ("x", "")]];
    Grouping::new(pairs[at].iter().copied()).unwrap()
}

fn push(
    gateway: &Gateway,
    time: i64,
    group: usize,
    body: &str,
    gauge: Option<GaugeRule>,
) -> Result<(usize, usize, usize), String> {
    push_in(PushFormat::Text, gateway, time, group, body.as_bytes(), gauge)
}

fn push_in(
    format: PushFormat,
    gateway: &Gateway,
    time: i64,
    group: usize,
    body: &[u8],
    gauge: Option<GaugeRule>,
) -> Result<(usize, usize, usize), String> {
    let grouping = grouping(group);
    let request =
        PushRequest { merge: gauge, time: Some(time), ..PushRequest::new(&grouping, format, body) };
    let pushed = gateway.push(&request);
    pushed.map(|p| (p.samples, p.series, p.series_born)).map_err(|error| {
        // The other body begins with a line more.
        let text = error.to_string();
        text.split_once(": ").map_or(text.clone(), |(_, rest)| rest.to_owned())
    })
}

fn scrape(gateway: &Gateway, format: Format, compression: Compression) -> Vec<u8> {
    let mut scrape = gateway.scrape(request(format, compression)).unwrap();
    let mut body = Vec::new();
    while let Some(piece) = scrape.next_piece().unwrap() {
        body.extend_from_slice(&piece);
    }
    let coding = match compression {
        Compression::Identity => return body,
        Compression::Gzip => Coding::Gzip,
        Compression::Zstd => Coding::Zstd,
    };
    let mut plain = Vec::new();
    compress::decode(coding, &body, usize::MAX, &mut plain).unwrap();
    plain
}

/// A body of text as protobuf; `None` if it would be refused.
fn in_protobuf(body: &str) -> Option<Vec<u8>> {
    let gateway = gateway(0);
    push(&gateway, 0, 0, body, None).ok()?;
    Some(scrape(&gateway, Format::ProtobufDelimited, Compression::Identity))
}

/// A family without metrics, which says nothing.
fn empty_family(name: &str) -> Vec<u8> {
    let length = name.len() as u8;
    [&[length + 2, 1 << 3 | 2, length], name.as_bytes()].concat()
}

fn settings(gauge: GaugeRule, samples: usize, cache_bytes: usize) -> Settings {
    let mut settings = Settings { gauge, cache_bytes, ..Settings::default() };
    settings.limits.samples_per_push = samples;
    settings
}

fn gateway(cache_bytes: usize) -> Gateway {
    Gateway::new(settings(GaugeRule::Last, 0, cache_bytes), Arc::new(Telemetry::new(0)))
}

const CACHE_BYTES: usize = 64 << 20;

/// Not protobuf: there each gateway tells when its series were created.
const WAYS: [(Format, Compression); 4] = [
    (Format::Text004, Compression::Identity),
    (Format::Text004, Compression::Gzip),
    (Format::OpenMetrics100, Compression::Zstd),
    (Format::OpenMetrics100, Compression::Gzip),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn what_is_remembered_changes_nothing(steps in prop::collection::vec(step(), 1..120)) {
        let (quick, slow) = (gateway(CACHE_BYTES), gateway(0));
        for (at, step) in steps.iter().enumerate() {
            match step {
                Step::Push { form, group, values, gauge, protobuf: true } => {
                    let body = fill(FORMS[*form], values);
                    let Some(known) = in_protobuf(&body) else { continue };
                    let unknown = [empty_family(&format!("at_{at}")), known.clone()].concat();
                    let time = at as i64;
                    let push = |gateway, body: &[u8]| {
                        push_in(PushFormat::Protobuf, gateway, time, *group, body, *gauge)
                    };
                    prop_assert_eq!(push(&quick, &known), push(&slow, &unknown), "{}", body);
                }
                Step::Push { form, group, values, gauge, .. } => {
                    let body = fill(FORMS[*form], values);
                    // Each with a comment of its own: nothing is known of such a body.
                    let unknown = format!("# {at}\n{body}");
                    let time = at as i64;
                    prop_assert_eq!(
                        push(&quick, time, *group, &body, *gauge),
                        push(&slow, time, *group, &unknown, *gauge),
                        "{}", body
                    );
                }
                Step::DeleteGroup(group) => {
                    let key = grouping(*group).key().to_owned();
                    let deleted = |gateway: &Gateway| gateway.delete_group(&key, false).families;
                    prop_assert_eq!(deleted(&quick), deleted(&slow));
                }
                Step::DeleteFamily(at) => {
                    let selector = tallygate::gateway::Selector::parse(["a_total", "g", "h"][*at]).unwrap();
                    let deleted = |gateway: &Gateway| {
                        gateway.delete_matching(std::slice::from_ref(&selector), false).families
                    };
                    prop_assert_eq!(deleted(&quick), deleted(&slow));
                }
                Step::Wipe => {
                    prop_assert_eq!(quick.wipe().families, slow.wipe().families);
                }
                Step::Settings { gauge, samples } => {
                    quick.set_settings(settings(*gauge, *samples, CACHE_BYTES));
                    slow.set_settings(settings(*gauge, *samples, 0));
                }
                Step::Scrape => {
                    for (format, compression) in WAYS {
                        let shown = scrape(&quick, format, compression);
                        let expected = scrape(&slow, format, compression);
                        prop_assert_eq!(
                            String::from_utf8_lossy(&shown), String::from_utf8_lossy(&expected)
                        );
                    }
                }
            }
        }
    }
}

/// Puts values between the parts of a form.
fn fill(form: &str, values: &[String]) -> String {
    let mut values = values.iter().cycle();
    let mut parts = form.split('@');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |body, part| body + values.next().map_or("1", |value| value) + part)
}

/// Families of many sizes, one of them so large that it is divided.
fn large(value: usize, family: usize) -> String {
    let series = if family == 3 { 12_000 } else { 1 + family * 7 % 100 };
    let mut body = format!("# TYPE family_{family}_total counter\n");
    for at in (value % 5..series).step_by(1 + value % 3) {
        body += &format!("family_{family}_total{{path=\"/some/longer/path/{at}\"}} {value}\n");
    }
    body
}

#[test]
fn chunks_that_are_kept_are_those_that_would_be_made() {
    let (quick, slow) = (gateway(CACHE_BYTES), gateway(0));
    let each = |work: &dyn Fn(&Gateway)| [&quick, &slow].map(work);
    for family in 0..120 {
        each(&|gateway| _ = push(gateway, 0, 0, &large(0, family), None).unwrap());
    }
    for round in 1..9 {
        match round % 4 {
            // One series of the large family is born in its middle.
            1 => {
                let body = format!(
                    "# TYPE family_3_total counter\nfamily_3_total{{path=\"/some/longer/path/5{round}x\"}} 1\n"
                );
                each(&|gateway| _ = push(gateway, 1, 0, &body, None).unwrap());
            }
            2 => drop(each(&|gateway| _ = push(gateway, 1, 0, &large(round, 3), None).unwrap())),
            3 => {
                let text =
                    format!("{{__name__=~\"family_({round}|3)_total\",path=~\".*{round}7\"}}");
                let selector = tallygate::gateway::Selector::parse(&text).unwrap();
                each(&|gateway| {
                    _ = gateway.delete_matching(std::slice::from_ref(&selector), false);
                });
            }
            _ => drop(each(&|gateway| {
                _ = push(gateway, 1, 0, &large(round, round * 9), None).unwrap();
            })),
        }
        for (format, compression) in WAYS {
            for _ in 0..2 {
                let shown = scrape(&quick, format, compression);
                assert!(shown == scrape(&slow, format, compression), "{format:?}, round {round}");
            }
        }
    }
}

#[test]
fn a_scrape_after_a_push_shows_it_whatever_others_do() {
    let gateway = gateway(CACHE_BYTES);
    let shown = |name: &str, format, compression| -> f64 {
        let body = scrape(&gateway, format, compression);
        let body = String::from_utf8(body).unwrap();
        let line = body.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (gateway, shown) = (&gateway, &shown);
            scope.spawn(move || {
                let name = format!("c_total{{thread=\"{thread}\"}}");
                let body = format!("# TYPE c_total counter\n{name} 1\n");
                for round in 1..400 {
                    push(gateway, 0, 0, &body, None).unwrap();
                    let (format, compression) = WAYS[round % 3];
                    assert_eq!(shown(&name, format, compression), round as f64);
                }
            });
        }
    });
}
