//! Native histograms (merge-semantics 1.3; the examples are those of formats 10).

use super::*;
use crate::merge::native::{downscale, upper_edge};

fn sums() -> MergeRules {
    MergeRules::default()
}

#[track_caller]
fn add_up(pushes: &[&str], expected: &str) {
    in_any_order(Kind::Histogram, sums(), pushes, expected);
    in_any_order(Kind::GaugeHistogram, rules(GaugeRule::Sum), pushes, expected);
}

#[test]
fn equal_layouts_add_per_bucket() {
    add_up(
        &[
            "count=9 sum=1 schema=3 zt=0.001 zero=2 p-2=3 p5=2 n1=2",
            "count=3 sum=1 schema=3 zt=0.001 p5=1 p6=1 n-4=1",
        ],
        "count=12 sum=2 schema=3 zt=0.001 zero=2 p-2=3 p5=3 p6=1 n-4=1 n1=2",
    );
}

#[test]
fn the_finer_schema_is_lowered() {
    add_up(
        &[
            "count=10 schema=1 zt=0.001 zero=1 p0=2 p1=3 p3=4",
            "count=9 schema=0 zt=0.001 zero=2 p1=5 p3=2",
        ],
        "count=19 schema=0 zt=0.001 zero=3 p0=2 p1=8 p2=4 p3=2",
    );
    let fine = "count=14 schema=3 p-2=3 p-1=5 p2=1 p4=3 p5=2";
    add_up(&[fine, "count=0 schema=1"], "count=14 schema=1 zt=0 zero=0 p0=8 p1=4 p2=2");
    add_up(&[fine, "count=0 schema=-1"], "count=14 schema=-1 zt=0 zero=0 p0=8 p1=6");
    add_up(
        &[fine, "count=0 schema=-1", "count=0 schema=1"],
        "count=14 schema=-1 zt=0 zero=0 p0=8 p1=6",
    );
}

#[test]
fn downscaling_floors() {
    for (index, by_1, by_2, by_4) in [
        (-5, -2, -1, 0),
        (-4, -2, -1, 0),
        (-3, -1, 0, 0),
        (-2, -1, 0, 0),
        (-1, 0, 0, 0),
        (0, 0, 0, 0),
        (1, 1, 1, 1),
        (2, 1, 1, 1),
        (3, 2, 1, 1),
        (16, 8, 4, 1),
        (17, 9, 5, 2),
        (-16, -8, -4, -1),
        (i32::MAX, 1 << 30, 1 << 29, 1 << 27),
    ] {
        assert_eq!(downscale(index, 0), index);
        assert_eq!(downscale(index, 1), by_1, "{index}");
        assert_eq!(downscale(index, 2), by_2, "{index}");
        assert_eq!(downscale(index, 4), by_4, "{index}");
    }
}

#[test]
fn the_larger_zero_threshold_swallows_what_it_covers() {
    let b = "count=10 schema=0 zt=0.75 zero=7 p1=2 p2=1";
    // 0.75 lies inside the populated (0.5, 1], so the threshold rises to 1.
    add_up(
        &["count=14 schema=0 zt=0.001 zero=2 p-1=4 p0=3 p1=5", b],
        "count=24 schema=0 zt=1 zero=16 p1=7 p2=1",
    );
    // With that bucket empty, the threshold stays.
    add_up(
        &["count=11 schema=0 zt=0.001 zero=2 p-1=4 p1=5", b],
        "count=21 schema=0 zt=0.75 zero=13 p1=7 p2=1",
    );
    // The negative side counts as well.
    add_up(
        &["count=6 schema=0 zt=0.001 zero=2 p-1=1 n0=3", b],
        "count=16 schema=0 zt=1 zero=13 p1=2 p2=1",
    );
    // A bucket that ends at the threshold is swallowed, one that begins there is not.
    add_up(
        &["count=3 schema=0 zt=0 p0=1 p1=2", "count=1 schema=0 zt=1 zero=1"],
        "count=4 schema=0 zt=1 zero=2 p1=2",
    );
}

#[test]
fn a_bucket_overlapping_the_zero_bucket_is_legal_while_thresholds_agree() {
    let a = "count=7 schema=0 zt=0.75 zero=2 p0=5";
    add_up(&[a], "count=7 schema=0 zt=0.75 zero=2 p0=5");
    add_up(&[a, a], "count=14 schema=0 zt=0.75 zero=4 p0=10");
}

#[test]
fn schema_first_then_threshold() {
    // Added in pairs (formats 10), the threshold would be reconciled in B's own schema first:
    // zt=2^-0.5, zero 6, p0=4, p1=5. All layouts at once (merge-semantics 1.3, which wins) take the
    // smallest schema first, where 2^-0.5 cuts the populated (0.5, 1].
    add_up(
        &[
            "count=7 schema=0 zt=0.7071067811865476 zero=2 p1=5",
            "count=8 schema=1 zt=0.001 zero=1 p-1=3 p0=4",
        ],
        "count=15 schema=0 zt=1 zero=10 p1=5",
    );
}

#[test]
fn schemas_and_thresholds_that_both_differ_do_not_depend_on_order() {
    // Added in pairs, the threshold would be 1.189 or 2 (merge-semantics 1.3).
    add_up(
        &[
            "count=3 schema=2 zt=1.1 zero=3",
            "count=2 schema=0 zt=0.5 p1=2",
            "count=4 schema=2 zt=0.001 p1=1 p2=3",
        ],
        "count=9 schema=0 zt=2 zero=9",
    );
    add_up(
        &[
            "count=3 schema=3 zt=0.3 zero=3",
            "count=2 schema=1 zt=0.5 p1=2",
            "count=4 schema=2 zt=0.001 p-5=1 n2=3",
            "count=1 schema=-1 zt=0.6 n2=1",
        ],
        // At schema -1 the buckets of 0.3 and of 1.41 are (0.25, 1] and (1, 4].
        "count=10 schema=-1 zt=1 zero=4 p1=2 n1=3 n2=1",
    );
}

#[test]
fn any_number_of_layouts_does_not_depend_on_order() {
    // Every combination of 13 schemas and 3 thresholds.
    let pushes: Vec<String> = (0..39)
        .map(|i| {
            let (schema, threshold) = (8 - i % 13, [0.0, 0.3, 1.1][i as usize / 13]);
            format!("count=3 schema={schema} zt={threshold} zero=1 p{}=1 n{}=1", i + 1, i - 20)
        })
        .collect();
    let mut pushes: Vec<&str> = pushes.iter().map(String::as_str).collect();
    let expected = "count=117 schema=-4 zt=65536 zero=96 p2=3 p3=3 p5=1 p6=2 p10=1 p13=2 \
        p19=1 p26=1 p39=1 n2=2 n4=1 n5=1 n9=1 n18=1";
    for turn in 0..39 {
        pushes.rotate_left(turn);
        in_order(Kind::Histogram, sums(), &pushes, expected);
        pushes.reverse();
        in_order(Kind::Histogram, sums(), &pushes, expected);
    }
}

#[test]
fn a_zero_threshold_has_no_sign() {
    add_up(
        &["count=1 schema=0 zt=-0 p0=1", "count=1 schema=0 zt=0 p0=1"],
        "count=2 schema=0 zt=0 zero=0 p0=2",
    );
    add_up(&["count=1 schema=0 zt=-0 p0=1"], "count=1 schema=0 zt=0 zero=0 p0=1");
}

#[test]
fn float_counts() {
    add_up(
        &["count=0.75 schema=0 zero=0.25 p1=0.5", "count=1 schema=0 p1=1"],
        "count=1.75 schema=0 zt=0 zero=0.25 p1=1.5",
    );
    // Rounding in the client makes such sums differ from the count; they are not compared.
    add_up(&["count=0.3 schema=0 p1=0.1 p2=0.2"], "count=0.3 schema=0 zt=0 zero=0 p1=0.1 p2=0.2");
}

#[test]
fn resolution_is_lowered_to_the_limit() {
    let push = "count=8 schema=2 p1=1 p2=1 p3=1 p4=1 p5=1 p9=1 n1=1 n2=1";
    let state = merged(Kind::Histogram, sums(), &[push]).unwrap();
    for (limit, expected) in [
        (8, "count=8 schema=2 zt=0 zero=0 p1=1 p2=1 p3=1 p4=1 p5=1 p9=1 n1=1 n2=1"),
        (7, "count=8 schema=1 zt=0 zero=0 p1=2 p2=2 p3=1 p5=1 n1=2"),
        (5, "count=8 schema=1 zt=0 zero=0 p1=2 p2=2 p3=1 p5=1 n1=2"),
        (4, "count=8 schema=0 zt=0 zero=0 p1=4 p2=1 p3=1 n1=2"),
        (3, "count=8 schema=-1 zt=0 zero=0 p1=5 p2=1 n1=2"),
        (2, "count=8 schema=-2 zt=0 zero=0 p1=6 n1=2"),
        // At the lowest schema, two buckets remain.
        (1, "count=8 schema=-4 zt=0 zero=0 p1=6 n1=2"),
    ] {
        assert_eq!(shown_within(Kind::Histogram, &state, limit), expected, "at most {limit}");
    }
}

#[test]
fn resolution_never_rises_again() {
    // Finer buckets than the limit allows, and then a zero threshold that swallows most of them: the
    // rest would fit without lowering the schema, but to Prometheus a rising schema is a reset.
    let mut state = Some(
        merged(Kind::Histogram, sums(), &["count=6 schema=2 p1=1 p2=1 p3=1 p4=1 p5=1 p13=1"])
            .unwrap(),
    );
    let coarse = "count=6 schema=0 zt=0 zero=0 p1=4 p2=1 p4=1";
    assert_eq!(shown_within(Kind::Histogram, state.as_ref().unwrap(), 3), coarse);
    let (exposition, stamp) = parse(Kind::Histogram, "count=1 schema=2 zt=4 zero=1");
    push_to(&mut state, Kind::Histogram, sums(), &exposition, stamp).unwrap();
    let swallowed = "count=7 schema=0 zt=4 zero=6 p4=1";
    assert_eq!(shown_within(Kind::Histogram, &state.unwrap(), 3), swallowed);
}

#[test]
fn hostile_numbers_of_buckets_lower_the_schema_for_good() {
    let push = |first: i32| {
        let buckets: Vec<_> = (0..5_000).map(|i| format!("p{}=1", first + i)).collect();
        format!("count=5000 schema=8 {}", buckets.join(" "))
    };
    let (low, high) = (push(-9_999), push(1));
    for pushes in [[&*low, &*high], [&*high, &*low]] {
        let state = merged(Kind::Histogram, sums(), &pushes).unwrap();
        let shown = shown_within(Kind::Histogram, &state, usize::MAX);
        assert!(
            shown.starts_with("count=10000 schema=6 zt=0 zero=0 p-2499=4 "),
            "{}",
            &shown[..60]
        );
        assert!(shown.matches(" p").count() <= 4096);
    }
}

/// Every bucket that can hold a number, at the lowest schema, which cannot be lowered any more.
#[test]
fn all_buckets_there_are() {
    for schema in -4..=8_i8 {
        let edge = |index| upper_edge(schema, index);
        let last = (1024_i32 << 8) >> (8 - schema);
        let first = -((1074_i32 << 8) >> (8 - schema));
        assert!(edge(first) >= 5e-324, "{schema}");
        // Below the smallest f64, 5e-324; finer schemas have edges above half of it, which round up to
        // it.
        assert!(edge(first - 1) == 0.0 || schema > 0, "{schema}");
        assert_eq!((edge(last), edge(last + 1)), (f64::MAX, f64::INFINITY), "{schema}");
    }
    let all = |side: char| (-67..=65).map(|i| format!(" {side}{i}=1")).collect::<String>();
    let push = format!("count=266 schema=-4{}{}", all('p'), all('n'));
    let expected = format!("count=266 schema=-4 zt=0 zero=0{}{}", all('p'), all('n'));
    add_up(&[&push], &expected);
}

#[test]
fn classic_and_native_parts_are_shown_while_complete() {
    let both = "le1=1 le+Inf=3 schema=0 zero=1 p1=2";
    let classic = "le1=1 le+Inf=3";
    let native = "count=3 schema=0 zero=1 p1=2";
    for (pushes, expected) in [
        (&[both, both][..], "le1=2 le+Inf=6 count=6 schema=0 zt=0 zero=2 p1=4"),
        (&[both, classic], "le1=2 le+Inf=6 count=6"),
        (&[both, native], "count=6 schema=0 zt=0 zero=2 p1=4"),
        (&[classic, native], "le+Inf=6 count=6"),
        (&[both, classic, native], "le+Inf=9 count=9"),
        // A part that has missed no observation stays complete.
        (&[both, "le1=0 le+Inf=0"], "le1=1 le+Inf=3 count=3 schema=0 zt=0 zero=1 p1=2"),
        (&[both, "count=0 schema=0"], "le1=1 le+Inf=3 count=3 schema=0 zt=0 zero=1 p1=2"),
    ] {
        add_up(pushes, expected);
    }
}

#[test]
fn native_exemplars_are_the_ten_best() {
    let pushes: Vec<String> =
        (0..30).map(|i| format!("count=1 schema=0 p1=1 #e{i}@{}=1", i * 7 % 30)).collect();
    let pushes: Vec<&str> = pushes.iter().map(String::as_str).collect();
    let mut backwards = pushes.clone();
    backwards.reverse();
    let expected = "count=30 schema=0 zt=0 zero=0 p1=30 #e20@20=1 #e3@21=1 #e16@22=1 #e29@23=1 \
        #e12@24=1 #e25@25=1 #e8@26=1 #e21@27=1 #e4@28=1 #e17@29=1";
    in_order(Kind::Histogram, sums(), &pushes, expected);
    in_order(Kind::Histogram, sums(), &backwards, expected);
    // Zeros are told apart by their sign.
    add_up(
        &[
            "count=1 schema=0 p1=1 #a=-0",
            "count=1 schema=0 p1=1 #a=0",
            "count=1 schema=0 p1=1 #a=NaN",
        ],
        "count=3 schema=0 zt=0 zero=0 p1=3 #a=-0 #a=0 #a=NaN",
    );
    add_up(
        &["count=1 schema=0 p1=1 #a=NaN", "count=1 schema=0 p1=1 #a=NaN"],
        "count=2 schema=0 zt=0 zero=0 p1=2 #a=NaN",
    );
    // Each is kept once, however often it is pushed.
    add_up(
        &["count=1 schema=0 p1=1 #a@1=2 #b=1", "count=1 schema=0 p1=1 #b=1 #a@1=2"],
        "count=2 schema=0 zt=0 zero=0 p1=2 #b=1 #a@1=2",
    );
}

#[test]
fn refused_native_buckets() {
    for (push, expected) in [
        ("count=1 schema=9 p1=1", "native histogram schema 9 is not in -4 to 8"),
        ("count=1 schema=-5 p1=1", "native histogram schema -5 is not in -4 to 8"),
        ("count=1 schema=-53 p1=1", "native histogram schema -53 is not in -4 to 8"),
        ("count=1 schema=0 zt=-1 p1=1", "zero threshold -1 is not a finite number >= 0"),
        ("count=1 schema=0 zt=NaN p1=1", "zero threshold NaN is not a finite number >= 0"),
        ("count=1 schema=0 zt=inf p1=1", "zero threshold inf is not a finite number >= 0"),
        ("count=1 schema=0 p1=2", "the count is 1, but the buckets hold 2"),
        ("count=1 schema=0 zero=1 n1=1", "the count is 1, but the buckets hold 2"),
        // Only observations of NaN are in no bucket, and then the sum would be NaN.
        ("count=1 schema=0", "the count is 1, but the buckets hold 0"),
        ("count=3 sum=1 schema=0 p1=2", "the count is 3, but the buckets hold 2"),
        ("le+Inf=3 sum=1 schema=0 zero=2", "the count is 3, but the buckets hold 2"),
        ("count=1 schema=0 p1026=1", "bucket 1026 of schema 0 lies where no number is"),
        ("count=1 schema=8 n262146=1", "bucket 262146 of schema 8 lies where no number is"),
        ("count=1 schema=-4 p66=1", "bucket 66 of schema -4 lies where no number is"),
        ("count=1 schema=0 p2147483647=1", "bucket 2147483647 of schema 0 lies where no number is"),
        ("count=1 schema=0 p-1075=1", "bucket -1075 of schema 0 lies where no number is"),
        ("count=1 schema=8 p-274945=1", "bucket -274945 of schema 8 lies where no number is"),
        ("count=1 schema=-4 n-68=1", "bucket -68 of schema -4 lies where no number is"),
        (
            "count=1 schema=0 n-2147483648=1",
            "bucket -2147483648 of schema 0 lies where no number is",
        ),
        ("count=1 schema=0 p1=-1", "bucket -1 is negative"),
        ("count=1 schema=0 n1=NaN", "bucket NaN is not finite"),
        ("count=1 schema=0 zero=inf", "bucket +Inf is not finite"),
        ("schema=0 p1=2", "there is neither a count nor a +Inf bucket"),
    ] {
        refused(Kind::Histogram, sums(), &[], push, expected);
        refused(Kind::Histogram, sums(), &["count=1 schema=0 zero=1"], push, expected);
    }
}

#[test]
fn the_outermost_buckets() {
    add_up(
        &["count=2 schema=0 p1025=1 n1025=1", "count=2 schema=-4 p65=1 n65=1"],
        "count=4 schema=-4 zt=0 zero=0 p65=2 n65=2",
    );
    add_up(
        &[
            "count=1 schema=8 p-274944=1",
            "count=2 schema=0 p-1074=1 n-1074=1",
            "count=1 schema=-4 n-67=1",
        ],
        "count=4 schema=-4 zt=0 zero=0 p-67=2 n-67=2",
    );
}

#[test]
fn edges_of_buckets() {
    for (schema, index, edge) in [
        (0, 0, 1.0),
        (0, 1, 2.0),
        (0, -1, 0.5),
        (1, 1, std::f64::consts::SQRT_2),
        (2, 4, 2.0),
        (-1, 1, 4.0),
        (-4, 1, 65536.0),
        (-4, -1, 1.0 / 65536.0),
        // The bucket of the largest finite number ends with it; the next one holds infinity.
        (8, 262144, f64::MAX),
        (8, 262145, f64::INFINITY),
        (0, 1024, f64::MAX),
        (0, 1025, f64::INFINITY),
        (-4, 64, f64::MAX),
        (-4, 65, f64::INFINITY),
        (0, 1023, 2f64.powi(1023)),
        (8, -256 * 1074, 5e-324),
        (0, -1074, 5e-324),
        (-1, -537, 5e-324),
        (0, -1075, 0.0),
        (0, -1030, f64::from_bits(1 << 44)),
        (0, i32::MIN, 0.0),
        (-4, i32::MAX, f64::INFINITY),
        (3, i32::MAX, f64::INFINITY),
    ] {
        assert_eq!(upper_edge(schema, index), edge, "schema {schema}, index {index}");
    }
}
