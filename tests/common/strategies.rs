//! Strategies for pushes. There are few names, so that pushes meet. Each has one kind and, if it is a
//! gauge, ends in its rule.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use tallygate::model::exposition::Bucket;
use tallygate::model::{Exemplar, GaugeRule, Kind, NativeBuckets, Number, UntypedRule};
use tallygate::store::{ChosenBy, StoreLimits};

use super::{Push, PushFamily, PushHistogram, PushSeries, PushValue};

const FAMILIES: [(&str, Kind); 13] = [
    ("c_total", Kind::Counter),
    // Also pushed without a type.
    ("d_total", Kind::Counter),
    ("e", Kind::StateSet),
    ("g_last", Kind::Gauge),
    ("g_max", Kind::Gauge),
    ("g_mean", Kind::Gauge),
    ("g_min", Kind::Gauge),
    ("g_sum", Kind::Gauge),
    ("gh_last", Kind::GaugeHistogram),
    ("gh_sum", Kind::GaugeHistogram),
    ("h", Kind::Histogram),
    ("s", Kind::Summary),
    ("x_info", Kind::Info),
];

/// Pushes that are always accepted, in any order, and whose result does not depend on it.
pub(crate) fn push() -> impl Strategy<Value = Push> {
    families(FAMILIES.to_vec()).prop_flat_map(|families| {
        (Just(families), grouping(), -3..3i64).prop_map(|(families, grouping, stamp)| Push {
            grouping,
            stamp,
            ..Push::of(families)
        })
    })
}

/// The same, but only families whose values add up.
pub(crate) fn adding_push() -> impl Strategy<Value = Push> {
    let kinds = [Kind::Counter, Kind::Histogram, Kind::Summary, Kind::Info];
    let adding = FAMILIES
        .into_iter()
        .filter(|(name, kind)| kinds.contains(kind) || matches!(*name, "g_sum" | "gh_sum"));
    (families(adding.collect()), grouping())
        .prop_map(|(families, grouping)| Push { grouping, ..Push::of(families) })
}

/// Pushes that go wrong in many ways: values that are refused, kinds and rules that change,
/// limits, labels that a rule of the operator drops.
pub(crate) fn wild_push() -> impl Strategy<Value = Push> {
    let families = (families(FAMILIES.to_vec()), prop::option::weighted(0.4, mishap()));
    let terms = (
        prop::option::weighted(0.2, select(GaugeRule::ALL)),
        select(vec![ChosenBy::Default, ChosenBy::Push, ChosenBy::Operator]),
        prop_oneof![8 => Just(UntypedRule::Sum), 1 => select(UntypedRule::ALL)],
        prop::option::weighted(0.2, select(vec!["a", "instance", "job"])),
    );
    let limits = prop_oneof![
        4 => Just(StoreLimits::default()),
        1 => (0..40usize, 0..14usize, 0..8usize).prop_map(|(series, families, bucket_bounds)| {
            StoreLimits { series, families, bucket_bounds, series_per_job: 0 }
        }),
    ];
    let when = (-3..3i64, prop_oneof![Just(0), 1..20u32]);
    (families, grouping(), terms, limits, when).prop_map(
        |((mut families, mishap), grouping, terms, limits, (stamp, ttl_s))| {
            if let Some((at, family)) = mishap {
                families.retain(|other| other.name != family.name);
                families.insert(at.index(families.len() + 1), family);
            }
            let (gauge, chosen_by, untyped, drop_label) = terms;
            let drop_label = drop_label.map(str::to_owned);
            Push {
                grouping,
                stamp,
                ttl_s,
                limits,
                gauge,
                chosen_by,
                untyped,
                drop_label,
                ..Push::of(families)
            }
        },
    )
}

/// A family that will usually be refused, and its position in the push.
fn mishap() -> impl Strategy<Value = (prop::sample::Index, PushFamily)> {
    let odd = select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 2.0, 0.0]);
    let kind = select(vec![Kind::Counter, Kind::Gauge, Kind::Untyped, Kind::Info]);
    let names: Vec<&str> = FAMILIES.iter().map(|(name, _)| *name).collect();
    let names = [names, vec!["h_count", "s_sum", "gh_sum_bucket", "h"]].concat();
    let scalar = (select(names), kind, odd)
        .prop_map(|(name, kind, value)| super::family(name, kind, &[], PushValue::Scalar(value)));
    let shapeless = (shapeless_histogram(), select(vec!["h", "gh_sum", "gh_last", "s"])).prop_map(
        |(histogram, name)| {
            super::family(name, Kind::Histogram, &[], PushValue::Histogram(histogram))
        },
    );
    let unit = select(vec!["seconds", "bytes"]).prop_map(|unit| PushFamily {
        unit: unit.to_owned(),
        ..super::counter("c_total", &[], 1.0)
    });
    let family = prop_oneof![3 => scalar, 2 => shapeless, 1 => unit];
    (any::<prop::sample::Index>(), family)
}

fn shapeless_histogram() -> impl Strategy<Value = PushHistogram> {
    let bound = select(vec![0.5, 1.0, 3.0, f64::INFINITY]);
    let buckets = prop::collection::btree_map(0..4usize, (bound, number()), 0..3);
    let sum = prop::option::of(select(vec![1.0, f64::NAN, f64::INFINITY]));
    let native = prop::option::weighted(0.3, native());
    (buckets, prop::option::of(number()), sum, native).prop_map(|(buckets, count, sum, native)| {
        let mut buckets: Vec<Bucket> = buckets
            .into_values()
            .map(|(upper_bound, cumulative_count)| Bucket {
                upper_bound,
                cumulative_count,
                exemplar: None,
            })
            .collect();
        buckets.sort_by(|a, b| a.upper_bound.total_cmp(&b.upper_bound));
        buckets.dedup_by(|a, b| a.upper_bound == b.upper_bound);
        PushHistogram { count, sum, buckets, native: native.map(|(native, _)| native) }
    })
}

pub(crate) fn grouping() -> impl Strategy<Value = Vec<(String, String)>> {
    let pairs: [&[(&str, &str)]; 4] =
        [&[], &[("job", "j1")], &[("job", "j2")], &[("job", "j1"), ("b", "x")]];
    select(
        pairs
            .map(|pairs| {
                pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<Vec<_>>()
            })
            .to_vec(),
    )
}

fn families(of: Vec<(&'static str, Kind)>) -> impl Strategy<Value = Vec<PushFamily>> {
    let most = of.len().min(5);
    subsequence(of, 1..=most).prop_shuffle().prop_flat_map(|families| {
        families.into_iter().map(|(n, k)| family(n, k)).collect::<Vec<_>>()
    })
}

fn family(name: &'static str, kind: Kind) -> BoxedStrategy<PushFamily> {
    // Untyped samples have no exemplars.
    let kind = match name {
        "d_total" => prop_oneof![Just(Kind::Counter), Just(Kind::Untyped)].boxed(),
        _ => Just(kind).boxed(),
    };
    let help = select(vec!["", "", "a", "b", "aa"]);
    let unit = if name == "h" { vec!["", "seconds"] } else { vec![""] };
    let labels = subsequence(vec!["", "1", "2", "1x", "1y"], 1..=2);
    (kind, help, select(unit), labels)
        .prop_flat_map(move |(kind, help, unit, labels)| {
            let series: Vec<_> = labels.into_iter().map(|text| series(name, kind, text)).collect();
            (Just((kind, help, unit)), series)
        })
        .prop_map(move |((kind, help, unit), series)| PushFamily {
            name: name.to_owned(),
            kind,
            help: help.to_owned(),
            unit: unit.to_owned(),
            series,
        })
        .boxed()
}

/// `text` is the value of the label `a`, followed by that of `instance`.
fn series(name: &'static str, kind: Kind, text: &'static str) -> BoxedStrategy<PushSeries> {
    let names = ["a", "instance"];
    let labels = names.iter().zip(text.chars()).map(|(n, c)| ((*n).to_owned(), c.to_string()));
    let labels: Vec<_> = labels.collect();
    // Whether a sum is shown depends on the order, unless it is always missing in the same series.
    let with_sum = !text.starts_with('2');
    let no_exemplars = || Just(Vec::new()).boxed();
    let (value, exemplars) = match kind {
        Kind::Counter => {
            let exemplars = prop::collection::vec(exemplar(), 0..2).boxed();
            (amount().prop_map(PushValue::Scalar).boxed(), exemplars)
        }
        Kind::Untyped => (amount().prop_map(PushValue::Scalar).boxed(), no_exemplars()),
        Kind::Gauge => {
            let last = prop_oneof![4 => finite(), 1 => select(vec![f64::NAN, f64::INFINITY])];
            let value = if name == "g_last" { last.boxed() } else { finite().boxed() };
            (value.prop_map(PushValue::Scalar).boxed(), no_exemplars())
        }
        Kind::Info => (Just(PushValue::Scalar(1.0)).boxed(), no_exemplars()),
        Kind::Summary => {
            let sum = amount().prop_map(move |sum| with_sum.then_some(sum));
            let value = (number(), sum)
                .prop_map(|(count, sum)| PushValue::Summary { count: Some(count), sum });
            (value.boxed(), no_exemplars())
        }
        Kind::StateSet => {
            let states =
                prop::collection::btree_map(select(vec!["on", "off", "idle"]), any::<bool>(), 0..3);
            let value = states.prop_map(|states| {
                PushValue::States(states.into_iter().map(|(n, on)| (n.to_owned(), on)).collect())
            });
            (value.boxed(), no_exemplars())
        }
        Kind::Histogram | Kind::GaugeHistogram => {
            // The exemplars of the latest gauge histogram depend on ties.
            let exemplars = if name == "gh_last" {
                no_exemplars()
            } else {
                prop::collection::vec(exemplar(), 0..3).boxed()
            };
            let value = histogram(with_sum, name != "gh_last").prop_map(PushValue::Histogram);
            (value.boxed(), exemplars)
        }
    };
    (value, exemplars)
        .prop_map(move |(value, exemplars)| PushSeries { labels: labels.clone(), value, exemplars })
        .boxed()
}

/// Amounts for counters; sums stay finite.
pub(crate) fn amount() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (0..100u32).prop_map(f64::from),
        2 => (0..100u32).prop_map(|n| f64::from(n) * 0.1),
        1 => (0..4u64).prop_map(|n| ((1u64 << 53) - 2 + n) as f64),
        1 => (0..1u64 << 62).prop_map(f64::from_bits).prop_filter("no overflow", |x| *x < 1e300),
        1 => select(vec![-0.0, 0.0, 5e-324, f64::MIN_POSITIVE, 1e300, 1.0]),
    ]
}

pub(crate) fn finite() -> impl Strategy<Value = f64> {
    (amount(), any::<bool>()).prop_map(|(amount, negative)| if negative { -amount } else { amount })
}

pub(crate) fn number() -> impl Strategy<Value = Number> {
    prop_oneof![
        6 => (0..20u64).prop_map(Number::Int),
        1 => (0..4u64).prop_map(|n| Number::Int((1 << 53) - 2 + n)),
        1 => (0..3u64).prop_map(|n| Number::Int(u64::MAX - n)),
        1 => (0..40u32).prop_map(|n| Number::from_f64(f64::from(n) / 8.0)),
        1 => select(vec![5e-324, 2f64.powi(64), 1e300]).prop_map(Number::Float),
    ]
}

pub(crate) fn exemplar() -> impl Strategy<Value = Exemplar> {
    let labels = select(vec!["id=\"a\"", "id=\"b\"", ""]);
    let value = select(vec![0.0, -0.0, 1.5, -2.0]);
    (labels, value, prop::option::of(0..3i64)).prop_map(|(labels, value, timestamp_ms)| Exemplar {
        labels: labels.into(),
        value,
        timestamp_ms,
    })
}

/// Classic, native or both; always valid.
fn histogram(with_sum: bool, exemplars: bool) -> impl Strategy<Value = PushHistogram> {
    let sum = finite().prop_map(move |sum| with_sum.then_some(sum));
    let form = prop_oneof![
        5 => classic(exemplars).prop_map(|classic| (Some(classic), None)),
        2 => native().prop_map(|native| (None, Some(native))),
        2 => (classic(exemplars), native()).prop_map(|(c, n)| (Some(c), Some(n))),
    ];
    (form, sum).prop_map(|((classic, native), sum)| {
        let mut pushed = PushHistogram { sum, ..classic.unwrap_or_default() };
        if let Some((native, count)) = native {
            // Both parts must have the same count.
            for bucket in &mut pushed.buckets {
                let infinite = bucket.upper_bound == f64::INFINITY;
                if infinite || bucket.cumulative_count > count {
                    bucket.cumulative_count = count;
                }
            }
            pushed.count = Some(count);
            pushed.native = Some(native);
        }
        pushed
    })
}

/// Two of them differ in their last bit.
const BOUNDS: [f64; 10] =
    [f64::NEG_INFINITY, -1.0, 0.0, 0.25, 0.5, 1.0, 1.0 + f64::EPSILON, 2.0, 5.0, f64::MAX];

fn classic(exemplars: bool) -> impl Strategy<Value = PushHistogram> {
    let bounds = subsequence(BOUNDS.to_vec(), 0..=5);
    let exemplar = prop::option::weighted(0.3, exemplar())
        .prop_map(move |exemplar| exemplar.filter(|_| exemplars));
    let bucket = (prop_oneof![9 => 0..20u64, 1 => 0..u64::MAX / 16], exemplar);
    let buckets = prop::collection::vec(bucket, 6);
    (bounds, buckets, prop::bool::weighted(0.2), 0..3u8).prop_map(
        |(bounds, counts, fractions, form)| {
            let mut total = 0;
            let mut buckets = Vec::new();
            for (upper_bound, (own, exemplar)) in
                bounds.into_iter().chain([f64::INFINITY]).zip(counts)
            {
                total += own;
                let cumulative_count = if fractions {
                    Number::from_f64(total as f64 / 8.0)
                } else {
                    Number::Int(total)
                };
                let exemplar = exemplar.map(Box::new);
                buckets.push(Bucket { upper_bound, cumulative_count, exemplar });
            }
            let count = buckets.last().map(|bucket| bucket.cumulative_count);
            match form {
                0 => PushHistogram { count, buckets, ..PushHistogram::default() },
                1 => PushHistogram { buckets, ..PushHistogram::default() },
                _ => {
                    buckets.pop();
                    PushHistogram { count, buckets, ..PushHistogram::default() }
                }
            }
        },
    )
}

/// Native buckets with their count.
pub(crate) fn native() -> impl Strategy<Value = (NativeBuckets, Number)> {
    let thresholds =
        vec![0.0, -0.0, 1e-3, 0.3, 0.5, std::f64::consts::FRAC_1_SQRT_2, 0.75, 1.0, 2.5];
    let side = || prop::collection::btree_map(-9..9i32, 0..5u64, 0..5);
    (-4..=8i8, select(thresholds), 0..5u64, side(), side(), prop::bool::weighted(0.2)).prop_map(
        |(schema, zero_threshold, zero, positive, negative, fractions)| {
            let total = zero + positive.values().sum::<u64>() + negative.values().sum::<u64>();
            let number = |n: u64| match fractions {
                true => Number::from_f64(n as f64 / 4.0),
                false => Number::Int(n),
            };
            let side = |side: std::collections::BTreeMap<i32, u64>| {
                side.into_iter().map(|(at, n)| (at, number(n))).collect()
            };
            let native = NativeBuckets {
                schema,
                zero_threshold,
                zero_count: number(zero),
                positive: side(positive),
                negative: side(negative),
            };
            (native, number(total))
        },
    )
}
