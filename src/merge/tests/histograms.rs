//! Classic histograms (merge-semantics 1.2), gauge histograms.

use super::*;

fn sums() -> MergeRules {
    MergeRules::default()
}

const A: &str = "le1=3 le5=7 le+Inf=10";
const B: &str = "le2=4 le5=6 le+Inf=8";

#[test]
fn the_worked_example() {
    in_any_order(Kind::Histogram, sums(), &[A, B], "le1=3 le2=7 le5=13 le+Inf=18 count=18");
    in_any_order(Kind::Histogram, sums(), &[A, A, B, A], "le1=9 le2=13 le5=27 le+Inf=38 count=38");
    in_any_order(
        Kind::GaugeHistogram,
        rules(GaugeRule::Sum),
        &[A, B],
        "le1=3 le2=7 le5=13 le+Inf=18 count=18",
    );
}

#[test]
fn layouts_meet_in_any_order() {
    for (pushes, expected) in [
        // The same bounds.
        (&["le1=1 le+Inf=2", "le1=3 le+Inf=4"][..], "le1=4 le+Inf=6 count=6"),
        // Superset and subset.
        (
            &["le1=1 le2=2 le3=3 le+Inf=4", "le2=10 le+Inf=20"],
            "le1=1 le2=12 le3=13 le+Inf=24 count=24",
        ),
        // Nothing shared.
        (
            &["le1=1 le3=2 le+Inf=3", "le2=10 le4=20 le+Inf=30"],
            "le1=1 le2=11 le3=12 le4=22 le+Inf=33 count=33",
        ),
        // Only +Inf, and not even that.
        (&["le1=1 le+Inf=2", "le+Inf=5"], "le1=1 le+Inf=7 count=7"),
        (&["le1=1 le+Inf=2", "count=5"], "le1=1 le+Inf=7 count=7"),
        (&["le+Inf=2", "count=5"], "le+Inf=7 count=7"),
        // Three layouts without a common bound.
        (
            &["le1=1 le+Inf=1", "le2=2 le+Inf=2", "le3=4 le+Inf=4"],
            "le1=1 le2=3 le3=7 le+Inf=7 count=7",
        ),
        // A layout without observations still adds its bounds.
        (&["le1=1 le+Inf=2", "le0.5=0 le7=0 le+Inf=0"], "le0.5=0 le1=1 le7=1 le+Inf=2 count=2"),
        (&["le-1=1 le0=2 le+Inf=2", "le-inf=1 le+Inf=1"], "le-inf=1 le-1=2 le0=3 le+Inf=3 count=3"),
    ] {
        in_any_order(Kind::Histogram, sums(), pushes, expected);
    }
}

#[test]
fn one_bound_has_one_form() {
    in_any_order(
        Kind::Histogram,
        sums(),
        &["le1=1 le+Inf=1", "le1.0=1 le+Inf=1", "le1e0=1 le+Inf=1"],
        "le1=3 le+Inf=3 count=3",
    );
    in_any_order(
        Kind::Histogram,
        sums(),
        &["le-0=1 le+Inf=1", "le0=1 le+Inf=1"],
        "le0=2 le+Inf=2 count=2",
    );
}

#[test]
fn counts_and_sums_are_exact() {
    for (pushes, expected) in [
        (
            &["le1=9007199254740992 le+Inf=9007199254740993", "le1=1 le+Inf=1"][..],
            "le1=9007199254740993 le+Inf=9007199254740994 count=9007199254740994",
        ),
        // Beyond u64, counts stay exact and are rounded when shown.
        (
            &["le1=18446744073709551615 le+Inf=18446744073709551615", "le1=1 le+Inf=1"],
            "le1=1.8446744073709552e19 le+Inf=1.8446744073709552e19 count=1.8446744073709552e19",
        ),
        // Each bucket fits in u64, but the cumulative count does not.
        (
            &[
                "le1=0 le+Inf=18446744073709551615",
                "le1=18446744073709551615 le+Inf=18446744073709551615",
            ],
            "le1=18446744073709551615 le+Inf=3.6893488147419103e19 count=3.6893488147419103e19",
        ),
        (&["le1=0.5 le+Inf=0.75", "le1=0.25 le+Inf=0.25"], "le1=0.75 le+Inf=1 count=1"),
        (
            &["le1=0.1 le2=0.3 le+Inf=0.3", "le1=1 le2=1 le+Inf=1"],
            "le1=1.1 le2=1.3 le+Inf=1.3 count=1.3",
        ),
        // Rounded to f64, the first bucket would be above the second.
        (
            &[
                "le1=635934306964474700 le2=635934306964474701 count=635934306964474701",
                "le1=0.5 le2=1 count=1",
            ],
            "le1=635934306964474700 le2=635934306964474702 le+Inf=635934306964474702 \
             count=635934306964474702",
        ),
        (
            &["le1=18446744073709551615 count=18446744073709551615", "le1=0.75 count=1"],
            "le1=18446744073709551615 le+Inf=1.8446744073709552e19 count=1.8446744073709552e19",
        ),
        (&["le+Inf=1 sum=1e16", "le+Inf=1 sum=1", "le+Inf=1 sum=-1e16"], "le+Inf=3 count=3 sum=1"),
        (&["le+Inf=1 sum=5e-324", "le+Inf=1 sum=5e-324"], "le+Inf=2 count=2 sum=1e-323"),
        (&["le+Inf=1 sum=1e308", "le+Inf=1 sum=1e308"], "le+Inf=2 count=2 sum=inf"),
        (&["le+Inf=1 sum=-3", "le+Inf=1 sum=1"], "le+Inf=2 count=2 sum=-2"),
    ] {
        in_any_order(Kind::Histogram, sums(), pushes, expected);
    }
}

#[test]
fn what_is_missing() {
    for (pushes, expected) in [
        // +Inf follows from the count, the count from +Inf.
        (&["le1=3 count=5"][..], "le1=3 le+Inf=5 count=5"),
        (&["le1=3 le+Inf=5"], "le1=3 le+Inf=5 count=5"),
        (&["le1=3 le+Inf=5 count=5"], "le1=3 le+Inf=5 count=5"),
        (&["count=5 sum=1"], "le+Inf=5 count=5 sum=1"),
        (&["count=0"], "le+Inf=0 count=0"),
    ] {
        in_any_order(Kind::Histogram, sums(), pushes, expected);
    }
    // A sum without the first push would bias the mean, so none is shown.
    in_order(Kind::Histogram, sums(), &["count=5", "count=1 sum=7"], "le+Inf=6 count=6");
}

#[test]
fn refused_histograms() {
    for (push, expected) in [
        ("le1=3 sum=2", "there is neither a count nor a +Inf bucket"),
        ("sum=2", "there is neither a count nor a +Inf bucket"),
        ("le1=3 le+Inf=5 count=6", "the count is 6, but the buckets hold 5"),
        ("le1=3 le+Inf=5 count=4", "the count is 4, but the buckets hold 5"),
        ("le1=3 count=2", "the count is 2, but the buckets hold 3"),
        (
            "le1=3 le2=2 le+Inf=5",
            "the bucket le=\"2\" is lower than the one before; buckets must be cumulative",
        ),
        (
            "le1=3 le+Inf=2",
            "the bucket le=\"+Inf\" is lower than the one before; buckets must be cumulative",
        ),
        (
            "le1=18446744073709551616 le2=18446744073709551615 count=18446744073709551616",
            "the bucket le=\"2\" is lower than the one before; buckets must be cumulative",
        ),
        ("leNaN=3 count=5", "a bucket bound is not a number"),
        ("le-NaN=3 le+Inf=5", "a bucket bound is not a number"),
        ("le1=NaN le+Inf=5", "bucket NaN is not finite"),
        ("le1=-1 le+Inf=5", "bucket -1 is negative"),
        ("le1=1 le+Inf=inf", "count +Inf is not finite"),
        ("count=-1", "count -1 is negative"),
        ("count=NaN", "count NaN is not finite"),
        ("le+Inf=1 sum=NaN", "sum NaN is not finite"),
        ("le+Inf=1 sum=inf", "sum +Inf is not finite"),
        ("le+Inf=1 sum=-inf", "sum -Inf is not finite"),
    ] {
        for kind in [Kind::Histogram, Kind::GaugeHistogram] {
            refused(kind, sums(), &[], push, expected);
            refused(kind, sums(), &["le1=1 le+Inf=2 sum=1"], push, expected);
        }
    }
}

#[test]
fn a_sum_may_not_go_missing() {
    let expected = "there is no sum, but earlier pushes had one";
    refused(Kind::Histogram, sums(), &["count=1 sum=1"], "count=1", expected);
    refused(
        Kind::Histogram,
        sums(),
        &["count=1 sum=1", "count=0 sum=0"],
        "le1=1 count=1",
        expected,
    );
    refused(Kind::GaugeHistogram, rules(GaugeRule::Sum), &["count=1 sum=1"], "count=1", expected);
}

#[test]
fn each_bucket_keeps_its_best_exemplar() {
    for (pushes, expected) in [
        (
            &["le1=1#a@1=0.5 le+Inf=2#b@9=7", "le1=1#c@2=0.7 le+Inf=2#d@8=9"][..],
            "le1=2#c@2=0.7 le+Inf=4#b@9=7 count=4",
        ),
        // An exemplar stays with its bound when others are inserted.
        (
            &["le1=1#a@1=0.5 le+Inf=2#b@9=7", "le0.5=0 le2=1#c@3=2 le+Inf=1"],
            "le0.5=0 le1=1#a@1=0.5 le2=2#c@3=2 le+Inf=3#b@9=7 count=3",
        ),
        (&["le1=1 le+Inf=2", "le1=1#a=0.5 le+Inf=2"], "le1=2#a=0.5 le+Inf=4 count=4"),
    ] {
        in_any_order(Kind::Histogram, sums(), pushes, expected);
    }
}

#[test]
fn the_latest_gauge_histogram_wins_whole() {
    for (pushes, expected) in [
        (&["t=1 le1=3 le+Inf=5 sum=9", "t=2 le1=1 le+Inf=2"][..], "le1=1 le+Inf=2 count=2"),
        (&["t=2 le1=3 le+Inf=5 sum=9", "t=1 le1=1 le+Inf=2"], "le1=3 le+Inf=5 count=5 sum=9"),
        // Bounds stay once they were seen, so the layout does not depend on the order either.
        (&["t=1 le1=3 le+Inf=5", "t=2 le2=1 le+Inf=2"], "le1=0 le2=1 le+Inf=2 count=2"),
        // Equal stamps: the larger count, however it is given, then the larger sum, then buckets.
        (&["t=1 le1=3 le+Inf=5", "t=1 le1=0 le+Inf=6"], "le1=0 le+Inf=6 count=6"),
        (&["t=1 le1=3 count=5", "t=1 le1=0 le+Inf=6"], "le1=0 le+Inf=6 count=6"),
        (&["t=1 le1=3 count=5 sum=1", "t=1 le1=0 count=5 sum=2"], "le1=0 le+Inf=5 count=5 sum=2"),
        (&["t=1 le1=3 count=5", "t=1 le1=0 count=5 sum=-2"], "le1=0 le+Inf=5 count=5 sum=-2"),
        (&["t=1 le1=3 count=5", "t=1 le1=4 count=5"], "le1=4 le+Inf=5 count=5"),
        (&["t=1 le1=3 count=5", "t=1 le2=4 count=5"], "le1=3 le2=3 le+Inf=5 count=5"),
        (
            &["t=1 count=5 schema=0 p1=5", "t=1 count=5 schema=0 p2=5"],
            "count=5 schema=0 zt=0 zero=0 p2=5",
        ),
        // Equal except for exemplars: the best one is kept.
        (
            &["t=1 le1=3#a@1=1 count=5", "t=1 le1=3#b@2=1 count=5", "t=1 le1=2#c@3=1 count=5"],
            "le1=3#b@2=1 le+Inf=5 count=5",
        ),
        // A histogram with only a native part shows no classic buckets, even if it is empty.
        (&["t=1 count=5 schema=0 p1=5", "t=2 count=0 schema=0"], "count=0 schema=0 zt=0 zero=0"),
    ] {
        in_any_order(Kind::GaugeHistogram, rules(GaugeRule::Last), pushes, expected);
    }
}

#[test]
fn gauge_histograms_know_last_and_sum_only() {
    for rule in [GaugeRule::Min, GaugeRule::Max, GaugeRule::Mean] {
        let expected = format!("gaugehistogram cannot be merged by the rule {rule}");
        refused(Kind::GaugeHistogram, rules(rule), &[], A, &expected);
    }
}

#[test]
fn ten_thousand_bounds() {
    let push = |first: usize| {
        let buckets: Vec<_> = (0..5_000).map(|i| format!("le{}={i}", first + 2 * i)).collect();
        format!("{} count=5000", buckets.join(" "))
    };
    let (even, odd) = (push(0), push(1));
    let state = merged(Kind::Histogram, sums(), &[&even, &odd]).unwrap();
    let shown = shown(Kind::Histogram, &state);
    assert!(shown.starts_with("le0=0 le1=0 le2=1 le3=2 le4=3 "), "{}", &shown[..40]);
    assert!(shown.ends_with("le9999=9998 le+Inf=10000 count=10000"));
}

#[test]
fn a_gauge_histogram_may_change_its_rule() {
    let mut state = Some(merged(Kind::GaugeHistogram, rules(GaugeRule::Sum), &[A, B]).unwrap());
    let change = |state: &mut Option<State>, rule, push: &str| {
        let (exposition, stamp) = parse(Kind::GaugeHistogram, push);
        state.as_mut().unwrap().change_rule(rule);
        push_to(state, Kind::GaugeHistogram, rules(rule), &exposition, stamp).unwrap();
        shown(Kind::GaugeHistogram, state.as_ref().unwrap())
    };
    let last = "le1=30 le2=30 le5=70 le+Inf=100 count=100";
    assert_eq!(change(&mut state, GaugeRule::Last, "t=7 le1=30 le5=70 le+Inf=100"), last);
    let sum = "le1=33 le2=33 le5=77 le+Inf=110 count=110";
    assert_eq!(change(&mut state, GaugeRule::Sum, "le1=3 le5=7 le+Inf=10"), sum);
}

#[test]
fn a_sum_that_went_missing_after_the_check_is_shown_no_more() {
    // The push is checked under the rule `last`, and merged under `sum`.
    let latest = rules(GaugeRule::Last);
    let mut state = merged(Kind::GaugeHistogram, latest, &["count=1 sum=1"]).unwrap();
    state.change_rule(GaugeRule::Sum);
    let (exposition, stamp) = parse(Kind::GaugeHistogram, "count=2");
    state.merge(&exposition.series().next().unwrap(), stamp);
    assert_eq!(shown(Kind::GaugeHistogram, &state), "le+Inf=3 count=3");
}
