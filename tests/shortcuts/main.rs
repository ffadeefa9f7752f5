//! What is remembered of earlier pushes and scrapes makes later ones cheaper, and no other difference:
//! a gateway that can use it and one that cannot give the same answers, whatever happens to both.

#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "../../benches/common/mod.rs"]
mod common;
mod storm;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use common::request;
use proptest::prelude::*;
use tallygate::format::Timestamps;
use tallygate::format::compress::{self, Coding, Compression};
use tallygate::format::negotiate::{Format, PushFormat};
use tallygate::gateway::{Gateway, Identity, Key, PushId, PushRequest, Selector, Settings};
use tallygate::model::{GaugeRule, Grouping, Ttl, UntypedRule};
use tallygate::rules::{RawRule, Rules};
use tallygate::telemetry::Telemetry;

/// Bodies, with `@` for values. Some exclude each other, by type or by a missing sum.
const FORMS: [&str; 8] = [
    "# TYPE a_total counter\na_total{x=\"1\"} @\na_total{x=\"2\"} @\n# TYPE g gauge\ng @\n",
    "# HELP a_total Things.\n# TYPE a_total counter\na_total{x=\"1\"} @\n",
    "# TYPE h histogram\nh_bucket{le=\"1\"} @\nh_bucket{le=\"+Inf\"} 99\nh_sum @\nh_count 99\n",
    "# TYPE h histogram\nh_bucket{le=\"2\"} @\nh_bucket{le=\"+Inf\"} 99\nh_sum @\nh_count 99\n",
    "a_total{x=\"1\"} @\n# TYPE s summary\ns_sum @\ns_count @\n",
    "# TYPE g counter\ng{job=\"body\"} @\ng{job=\"other\"} @\n",
    "# TYPE i gaugehistogram\r\ni_bucket{le=\"1\"} @\r\ni_bucket{le=\"+Inf\"} 99\r\ni_sum @\r\n\
     i_count 99\r\n",
    // The labels of the path decide which of these lines belong to one series.
    "# TYPE m summary\nm_count{x=\"1\",y=\"1\"} @\nm_count{x=\"2\",y=\"2\"} @\n\
     m_sum{x=\"1\",y=\"2\"} @\nm_sum{x=\"2\",y=\"1\"} @\n",
];

/// Grouping keys with numbers, as by HTTP: without one, nothing is remembered of a push.
static GROUPINGS: LazyLock<[Grouping; 5]> = LazyLock::new(|| {
    // The second key makes two series equal in the form with `g` as a counter, which is refused.
    let keys: [&[(&str, &str)]; 5] =
        [&[], &[("job", "j")], &[("instance", "i"), ("x", "")], &[("x", "p")], &[("y", "p")]];
    keys.map(|pairs| Grouping::new(pairs.iter().copied()).unwrap().numbered())
});

#[derive(Clone, Debug)]
enum Step {
    Push {
        form: usize,
        group: usize,
        values: Vec<String>,
        hints: Hints,
        protobuf: bool,
    },
    DeleteGroup(usize),
    DeleteFamily(usize),
    Wipe,
    /// This many milliseconds pass.
    Expire(i64),
    Settings(Box<Settings>),
    Scrape,
}

/// Parameters of a push.
#[derive(Clone, Debug, Default)]
struct Hints {
    gauge: Option<GaugeRule>,
    ttl: bool,
    /// It is sent twice.
    retried: bool,
}

/// Steps with few forms and groups, so that many pushes are known.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let some = |all: usize, most| prop::sample::subsequence((0..all).collect::<Vec<_>>(), 1..=most);
    (some(FORMS.len(), 3), some(GROUPINGS.len(), 2))
        .prop_flat_map(|(forms, groups)| prop::collection::vec(step(forms, groups), 1..120))
}

fn step(forms: Vec<usize>, groups: Vec<usize>) -> impl Strategy<Value = Step> {
    let value = prop_oneof![
        12 => (0_u32..50).prop_map(|value| value.to_string()),
        1 => "-?[0-9]{1,3}\\.[0-9]{1,3}|NaN|x||1e3|[0-9]{17,20}",
        1 => prop::sample::select(&ODD[..]).prop_map(str::to_owned),
    ];
    let gauge = prop_oneof![Just(GaugeRule::Last), Just(GaugeRule::Sum), Just(GaugeRule::Max)];
    let values = prop::collection::vec(value, 3);
    let asked = prop::option::weighted(0.1, gauge);
    let hints = (asked, prop::bool::weighted(0.2), prop::bool::weighted(0.2))
        .prop_map(|(gauge, ttl, retried)| Hints { gauge, ttl, retried });
    let (forms, groups) = (prop::sample::select(forms), prop::sample::select(groups));
    let ms = prop_oneof![Just(60_000), Just(160_000)];
    prop_oneof![
        60 => (forms, groups.clone(), values, hints, prop::bool::weighted(0.3)).prop_map(
            |(form, group, values, hints, protobuf)| {
                Step::Push { form, group, values, hints, protobuf }
            }
        ),
        2 => groups.prop_map(Step::DeleteGroup),
        2 => (0..FAMILIES.len()).prop_map(Step::DeleteFamily),
        1 => Just(Step::Wipe),
        2 => ms.prop_map(Step::Expire),
        3 => settings().prop_map(|settings| Step::Settings(Box::new(settings))),
        10 => Just(Step::Scrape),
    ]
}

/// Far from the times that pass, because the two gateways are not called at the same moment.
const TTL: Ttl = Ttl::After(Duration::from_secs(100));

const FAMILIES: [&str; 5] = ["a_total", "g", "h", "i", "m"];

/// Unusual or invalid values.
const ODD: [&str; 28] = [
    "NaN",
    "-1",
    "-0",
    "+Inf",
    "-Inf",
    "1e400",
    "-1e400",
    "1e-400",
    "007",
    "0x10",
    "1_000",
    "1.",
    ".5",
    "+1",
    "1e5",
    "1e+05",
    "1.5e+22",
    "-2.5e-07",
    "9007199254740993",
    "18446744073709551615",
    "18446744073709551616",
    "123456789012345678",
    "0.1",
    "",
    "1 ",
    "1 5",
    "1\r",
    "1\n#",
];

/// Changing the settings makes everything that is remembered worthless.
fn settings() -> impl Strategy<Value = Settings> {
    let gauge = prop_oneof![Just(GaugeRule::Last), Just(GaugeRule::Sum), Just(GaugeRule::Max)];
    (gauge, 0..10).prop_map(|(gauge, other)| {
        let mut settings = Settings { gauge, ..Settings::default() };
        match other {
            0 => settings.limits.samples_per_push = 3,
            1 => settings.limits.store.series = 4,
            2 => settings.limits.label_value_bytes = 2,
            3 => settings.untyped = UntypedRule::Last,
            4 => settings.merge_hint = false,
            5 => settings.require_key = true,
            6 => settings.timestamps = Timestamps::Ignore,
            7 => settings.ttl_default = TTL,
            8 => settings.rules = rules(),
            _ => {}
        }
        settings
    })
}

/// A rule that makes two series one.
fn rules() -> Rules {
    let rule = RawRule {
        selector: "{}".to_owned(),
        drop_labels: Some(vec!["x".to_owned()]),
        ..RawRule::default()
    };
    Rules::compile(&[rule]).unwrap()
}

fn push(
    gateway: &Gateway,
    time: i64,
    group: usize,
    body: &str,
    hints: &Hints,
) -> Result<(usize, usize, usize), String> {
    push_in(PushFormat::Text, gateway, time, group, body.as_bytes(), hints)
}

fn push_in(
    format: PushFormat,
    gateway: &Gateway,
    time: i64,
    group: usize,
    body: &[u8],
    hints: &Hints,
) -> Result<(usize, usize, usize), String> {
    let id = PushId::Key(Key::parse(format!("push-{time}").as_bytes()).unwrap());
    let request = PushRequest {
        merge: hints.gauge,
        ttl: hints.ttl.then_some(TTL),
        time: Some(time),
        identity: hints.retried.then_some(Identity { principal: None, id: &id }),
        ..PushRequest::new(&GROUPINGS[group], format, body)
    };
    let pushed = gateway.push(&request);
    if hints.retried && pushed.is_ok() {
        assert!(gateway.push(&request).unwrap().replayed);
    }
    pushed.map(|p| (p.samples, p.series, p.series_born)).map_err(|error| {
        // The other body has one more line at the beginning.
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
    push(&gateway, 0, 0, body, &Hints::default()).ok()?;
    Some(scrape(&gateway, Format::ProtobufDelimited, Compression::Identity))
}

/// A family without metrics, which has no effect.
fn empty_family(name: &str) -> Vec<u8> {
    let length = name.len() as u8;
    [&[length + 2, 1 << 3 | 2, length], name.as_bytes()].concat()
}

fn gateway(cache_bytes: usize) -> Gateway {
    let settings = Settings { cache_bytes, ..Settings::default() };
    Gateway::new(settings, Arc::new(Telemetry::new(0)))
}

const CACHE_BYTES: usize = 64 << 20;

/// Not protobuf, in which each gateway shows when its series were created.
const WAYS: [(Format, Compression); 4] = [
    (Format::Text004, Compression::Identity),
    (Format::Text004, Compression::Gzip),
    (Format::OpenMetrics100, Compression::Zstd),
    (Format::OpenMetrics100, Compression::Gzip),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn what_is_remembered_changes_nothing(steps in steps()) {
        let (quick, slow) = (gateway(CACHE_BYTES), gateway(0));
        for (at, step) in steps.iter().enumerate() {
            match step {
                Step::Push { form, group, values, hints, protobuf: true } => {
                    let body = fill(FORMS[*form], values);
                    let Some(known) = in_protobuf(&body) else { continue };
                    let unknown = [empty_family(&format!("at_{at}")), known.clone()].concat();
                    let time = at as i64;
                    let push = |gateway, body: &[u8]| {
                        push_in(PushFormat::Protobuf, gateway, time, *group, body, hints)
                    };
                    prop_assert_eq!(push(&quick, &known), push(&slow, &unknown), "{}", body);
                }
                Step::Push { form, group, values, hints, .. } => {
                    let body = fill(FORMS[*form], values);
                    // With a different comment each time, so that the body is never known.
                    let unknown = format!("# {at}\n{body}");
                    let time = at as i64;
                    prop_assert_eq!(
                        push(&quick, time, *group, &body, hints),
                        push(&slow, time, *group, &unknown, hints),
                        "{}", body
                    );
                }
                Step::DeleteGroup(group) => {
                    let key = GROUPINGS[*group].key();
                    let deleted = |gateway: &Gateway| gateway.delete_group(key, false).families;
                    prop_assert_eq!(deleted(&quick), deleted(&slow));
                }
                Step::DeleteFamily(at) => {
                    let selector = Selector::parse(FAMILIES[*at]).unwrap();
                    let deleted = |gateway: &Gateway| {
                        gateway.delete_matching(std::slice::from_ref(&selector), false).families
                    };
                    prop_assert_eq!(deleted(&quick), deleted(&slow));
                }
                Step::Wipe => {
                    prop_assert_eq!(quick.wipe().families, slow.wipe().families);
                }
                Step::Expire(ms) => {
                    let expired = |gateway: &Gateway| {
                        gateway.clock().advance(*ms);
                        gateway.expire().families
                    };
                    prop_assert_eq!(expired(&quick), expired(&slow));
                }
                Step::Settings(settings) => {
                    quick.set_settings(Settings { cache_bytes: CACHE_BYTES, ..(**settings).clone() });
                    slow.set_settings(Settings { cache_bytes: 0, ..(**settings).clone() });
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

fn text(gateway: &Gateway) -> String {
    String::from_utf8(scrape(gateway, Format::Text004, Compression::Identity)).unwrap()
}

#[test]
fn odd_values_in_bodies_that_are_known() {
    let none = Hints::default();
    for (form, group) in FORMS.iter().zip([1, 1, 1, 1, 1, 0, 1, 3]) {
        for odd in ODD {
            let (quick, slow) = (gateway(0), gateway(0));
            for (time, value) in ["1", "1", "1", "1", odd, "1"].into_iter().enumerate() {
                let body = fill(form, &[value.to_owned()]);
                let unknown = format!("# {time}\n{body}");
                let time = time as i64;
                let pushed = push(&quick, time, group, &body, &none);
                assert_eq!(pushed, push(&slow, time, group, &unknown, &none), "{body}");
            }
            assert_eq!(text(&quick), text(&slow), "{form} {odd:?}");
        }
    }
}

#[test]
fn odd_values_in_protobuf_that_is_known() {
    const USUAL: f64 = 12345.5;
    let none = Hints::default();
    for form in [FORMS[0], FORMS[2], FORMS[6]] {
        let usual = in_protobuf(&fill(form, &["0".to_owned()])).unwrap();
        let usual = [&usual[..], &in_protobuf("# TYPE u counter\nu 12345.5\n").unwrap()].concat();
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, -1.0, 1e308, 5e-324] {
            let at = usual.windows(8).position(|bytes| bytes == USUAL.to_le_bytes()).unwrap();
            let mut odd_body = usual.clone();
            odd_body[at..at + 8].copy_from_slice(&odd.to_le_bytes());
            let (quick, slow) = (gateway(0), gateway(0));
            for (time, body) in [&usual; 4].into_iter().chain([&odd_body, &usual]).enumerate() {
                let unknown = [empty_family(&format!("at_{time}")), body.clone()].concat();
                let push = |gateway, body: &[u8]| {
                    push_in(PushFormat::Protobuf, gateway, time as i64, 1, body, &none)
                };
                assert_eq!(push(&quick, body), push(&slow, &unknown), "{odd}");
            }
            assert_eq!(text(&quick), text(&slow), "{odd}");
        }
    }
}

/// Under one grouping key the first sum belongs to the first count, under another to the second.
#[test]
fn labels_of_the_path_decide_what_is_one_series() {
    let none = Hints::default();
    let (quick, slow) = (gateway(0), gateway(0));
    for time in 0..20 {
        let values = [1 + time, 200 + time, 10 + time, 3000 + time].map(|value| value.to_string());
        let body = fill(FORMS[7], &values);
        // Both keys in turn, and then only one of them.
        let group = if time % 2 == 0 || time > 12 { 3 } else { 4 };
        let unknown = format!("# {time}\n{body}");
        let pushed = push(&quick, time, group, &body, &none);
        assert_eq!(pushed, push(&slow, time, group, &unknown, &none));
        assert_eq!(text(&quick), text(&slow), "{time}");
    }
}

/// Fills the values into a form.
fn fill(form: &str, values: &[String]) -> String {
    let mut values = values.iter().cycle();
    let mut parts = form.split('@');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |body, part| body + values.next().map_or("1", |value| value) + part)
}

/// Families of many sizes, one of which is so large that it is divided.
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
        each(&|gateway| _ = push(gateway, 0, 0, &large(0, family), &Hints::default()).unwrap());
    }
    for round in 1..9 {
        match round % 4 {
            // A series is born in the middle of the large family.
            1 => {
                let body = format!(
                    "# TYPE family_3_total counter\nfamily_3_total{{path=\"/some/longer/path/5{round}x\"}} 1\n"
                );
                each(&|gateway| _ = push(gateway, 1, 0, &body, &Hints::default()).unwrap());
            }
            2 => drop(each(&|gateway| {
                _ = push(gateway, 1, 0, &large(round, 3), &Hints::default()).unwrap()
            })),
            3 => {
                let text =
                    format!("{{__name__=~\"family_({round}|3)_total\",path=~\".*{round}7\"}}");
                let selector = Selector::parse(&text).unwrap();
                each(&|gateway| {
                    _ = gateway.delete_matching(std::slice::from_ref(&selector), false);
                });
            }
            _ => drop(each(&|gateway| {
                _ = push(gateway, 1, 0, &large(round, round * 9), &Hints::default()).unwrap();
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
                    push(gateway, 0, 0, &body, &Hints::default()).unwrap();
                    let (format, compression) = WAYS[round % 3];
                    assert_eq!(shown(&name, format, compression), round as f64);
                }
            });
        }
    });
}
