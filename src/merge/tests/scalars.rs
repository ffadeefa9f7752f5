//! Counters, gauges, untyped samples, summaries, info, statesets, exemplars, metadata.

use super::*;

#[test]
fn counters_add_without_rounding_in_any_order() {
    for (pushes, expected) in [
        (&["3"][..], "3"),
        (&["1", "2", "4"], "7"),
        (&["0"], "0"),
        (&["0.1", "0.2"], "0.30000000000000004"),
        (&["0.1", "0.2", "0.3"], "0.6"),
        (&["1e16", "1", "1", "1", "1"], "10000000000000004"),
        // 2^53 - 1, 2^53 and 2^53 + 1: plain f64 stops counting here.
        (&["9007199254740991", "1"], "9007199254740992"),
        (&["9007199254740992", "1"], "9007199254740992"),
        (&["9007199254740992", "1", "1"], "9007199254740994"),
        (&["9007199254740992", "1", "1", "1"], "9007199254740996"),
        (&["9007199254740992", "1", "5e-324"], "9007199254740994"),
        (&["1e308", "1e308"], "inf"),
        (&["1.7976931348623157e308", "1e291"], "1.7976931348623157e308"),
        (&["5e-324", "5e-324"], "1e-323"),
        (&["1e308", "5e-324"], "1e308"),
        (&["2.2250738585072014e-308", "5e-324"], "2.225073858507202e-308"),
    ] {
        in_any_order(Kind::Counter, MergeRules::default(), pushes, expected);
    }
}

#[test]
fn a_negative_zero_counts_as_zero() {
    for pushes in [&["-0"][..], &["-0", "-0"], &["-0", "0"]] {
        in_any_order(Kind::Counter, MergeRules::default(), pushes, "0");
        in_any_order(Kind::Gauge, rules(GaugeRule::Sum), pushes, "0");
        in_any_order(Kind::Gauge, rules(GaugeRule::Mean), pushes, "0");
    }
    in_any_order(Kind::Summary, MergeRules::default(), &["count=-0 sum=-0"], "count=0 sum=0");
    in_any_order(
        Kind::Histogram,
        MergeRules::default(),
        &["le1=-0 le+Inf=-0 sum=-0"],
        "le1=0 le+Inf=0 count=0 sum=0",
    );
}

#[test]
fn counters_refuse_what_would_spoil_them() {
    for (push, expected) in [
        ("NaN", "counter NaN is not finite"),
        ("inf", "counter +Inf is not finite"),
        ("-inf", "counter -Inf is not finite"),
        ("-1", "counter -1 is negative"),
        ("-5e-324", "counter -5e-324 is negative"),
    ] {
        refused(Kind::Counter, MergeRules::default(), &[], push, expected);
        refused(Kind::Counter, MergeRules::default(), &["1"], push, expected);
    }
}

#[test]
fn the_latest_gauge_wins_in_any_order() {
    for (pushes, expected) in [
        (&["t=1 5", "t=2 3"][..], "3"),
        (&["t=-2 5", "t=-1 3", "t=-3 9"], "3"),
        (&["t=2 -0"], "-0"),
        // Equal stamps: the larger value, in the total order.
        (&["t=1 5", "t=1 3", "t=0 9"], "5"),
        (&["t=1 0", "t=1 -0"], "0"),
        (&["t=1 inf", "t=1 3"], "inf"),
        (&["t=1 NaN", "t=1 inf"], "NaN"),
        (&["t=1 NaN", "t=2 3"], "3"),
        (&["t=2 NaN", "t=1 3"], "NaN"),
        // Even the smallest stamp and value replace the initial state.
        (&["t=-9223372036854775808 -5"], "-5"),
        (&["t=-9223372036854775808 -inf"], "-inf"),
        (&["t=9223372036854775807 1", "t=9223372036854775806 2"], "1"),
    ] {
        in_any_order(Kind::Gauge, rules(GaugeRule::Last), pushes, expected);
        in_any_order(Kind::Untyped, untyped(UntypedRule::Last), pushes, expected);
    }
}

#[test]
fn a_late_retry_changes_nothing() {
    let gauge = rules(GaugeRule::Last);
    in_order(Kind::Gauge, gauge, &["t=1 5", "t=2 3", "t=1 5"], "3");
    in_order(Kind::Gauge, gauge, &["t=1 5", "t=2 3", "t=2 3"], "3");
}

#[test]
fn summed_gauges_rise_and_fall() {
    for (pushes, expected) in [
        (&["3", "-5"][..], "-2"),
        (&["1e308", "1e308", "-1e308", "-1e308"], "0"),
        (&["1e308", "5e-324", "-1e308"], "5e-324"),
        (&["-9007199254740993", "-1"], "-9007199254740992"),
    ] {
        in_any_order(Kind::Gauge, rules(GaugeRule::Sum), pushes, expected);
    }
}

#[test]
fn least_and_greatest_gauges() {
    for (pushes, least, greatest) in [
        (&["3"][..], "3", "3"),
        (&["3", "-5", "4"], "-5", "4"),
        (&["inf", "-inf", "0"], "-inf", "inf"),
        (&["inf"], "inf", "inf"),
        (&["-inf"], "-inf", "-inf"),
        (&["5e-324", "1e308"], "5e-324", "1e308"),
        // Zeros must be ordered too, or the bits shown would depend on the order of arrival.
        (&["0", "-0"], "-0", "0"),
    ] {
        in_any_order(Kind::Gauge, rules(GaugeRule::Min), pushes, least);
        in_any_order(Kind::Gauge, rules(GaugeRule::Max), pushes, greatest);
    }
}

#[test]
fn the_mean_divides_the_exact_sum() {
    for (pushes, expected) in [
        (&["3"][..], "3"),
        (&["1", "2"], "1.5"),
        (&["1e16", "1", "-1e16"], "0.3333333333333333"),
        // Rounded once: dividing the rounded sum would be off by a unit, infinite, or zero.
        (&["0.1", "0.2", "0.3"], "0.2"),
        (&["1e308", "1e308"], "1e308"),
        (&["9007199254740992", "1", "1e-300"], "3002399751580331"),
        (&["9007199254740993", "9007199254740993"], "9007199254740992"),
        (&["5e-324", "0"], "0"),
        (&["5e-324", "1e-323"], "1e-323"),
        (&["-5e-324", "-5e-324", "0"], "-5e-324"),
        (&["-5e-324", "0", "0"], "0"),
        (&["-4", "2"], "-1"),
    ] {
        in_any_order(Kind::Gauge, rules(GaugeRule::Mean), pushes, expected);
    }
}

#[test]
fn gauges_refuse_what_their_rule_cannot_hold() {
    for (rule, push, expected) in [
        (GaugeRule::Sum, "NaN", "gauge NaN is not finite"),
        (GaugeRule::Sum, "inf", "gauge +Inf is not finite"),
        (GaugeRule::Sum, "-inf", "gauge -Inf is not finite"),
        (GaugeRule::Mean, "NaN", "gauge NaN is not finite"),
        (GaugeRule::Mean, "-inf", "gauge -Inf is not finite"),
        (GaugeRule::Min, "NaN", "gauge NaN is not finite"),
        (GaugeRule::Max, "NaN", "gauge NaN is not finite"),
    ] {
        refused(Kind::Gauge, rules(rule), &[], push, expected);
        refused(Kind::Gauge, rules(rule), &["1"], push, expected);
    }
}

#[test]
fn untyped_samples_go_by_policy() {
    in_any_order(Kind::Untyped, untyped(UntypedRule::Sum), &["1", "-3", "0.5"], "-1.5");
    in_any_order(Kind::Untyped, untyped(UntypedRule::Last), &["t=1 1", "t=2 -3"], "-3");
}

#[test]
fn untyped_samples_refused_by_policy() {
    let untyped_sample = "untyped sample NaN is not finite";
    refused(Kind::Untyped, untyped(UntypedRule::Sum), &["1"], "NaN", untyped_sample);
    let reject = "samples without a type are refused here (push.untyped)";
    refused(Kind::Untyped, untyped(UntypedRule::Reject), &[], "1", reject);
}

#[test]
fn summaries_add_and_drop_their_quantiles() {
    for (pushes, expected) in [
        (&["count=2 sum=3 q0.5=1", "count=1 sum=0.5 q0.5=7"][..], "count=3 sum=3.5"),
        (&["count=0 sum=0"], "count=0 sum=0"),
        (&["count=1", "count=2"], "count=3"),
        (&["count=1 q0.5=NaN"], "count=1"),
        (
            &["count=18446744073709551615 sum=0", "count=1 sum=0"],
            "count=1.8446744073709552e19 sum=0",
        ),
        (&["count=1.5 sum=5e-324", "count=1.5 sum=5e-324"], "count=3 sum=1e-323"),
    ] {
        in_any_order(Kind::Summary, MergeRules::default(), pushes, expected);
    }
    // A sum without the first push would bias the mean, so none is shown.
    in_order(Kind::Summary, MergeRules::default(), &["count=1", "count=2 sum=5"], "count=3");
}

#[test]
fn refused_summaries() {
    for (push, expected) in [
        ("sum=1", "the summary has no count"),
        ("count=NaN sum=1", "count NaN is not finite"),
        ("count=inf sum=1", "count +Inf is not finite"),
        ("count=-1 sum=1", "count -1 is negative"),
        ("count=1 sum=NaN", "sum NaN is not finite"),
        ("count=1 sum=-inf", "sum -Inf is not finite"),
        ("count=1 sum=-1", "sum -1 is negative"),
    ] {
        refused(Kind::Summary, MergeRules::default(), &[], push, expected);
        refused(Kind::Summary, MergeRules::default(), &["count=1 sum=1"], push, expected);
    }
    let no_sum = "there is no sum, but earlier pushes had one";
    refused(Kind::Summary, MergeRules::default(), &["count=1 sum=1"], "count=1", no_sum);
}

#[test]
fn info_is_a_set() {
    in_any_order(Kind::Info, MergeRules::default(), &["1", "1"], "1");
}

#[test]
fn refused_info() {
    for push in ["0", "2", "NaN", "-1", "0.9999999999999999"] {
        let expected = format!("an info value must be 1, not {push}");
        refused(Kind::Info, MergeRules::default(), &[], push, &expected);
        refused(Kind::Info, MergeRules::default(), &["1"], push, &expected);
    }
}

#[test]
fn a_stateset_is_one_register() {
    for (pushes, expected) in [
        (&["on:b off:a"][..], "off:a on:b"),
        // Sets are never mixed: c, which only the earlier push had, is gone.
        (&["t=1 on:a off:b off:c", "t=2 off:a on:b"], "off:a on:b"),
        (&["t=2 on:a off:b", "t=1 off:a on:b"], "on:a off:b"),
        // Equal stamps: the larger set, name before value.
        (&["t=1 on:a off:b", "t=1 off:a on:b"], "on:a off:b"),
        (&["t=1 on:a", "t=1 on:b", "t=1 off:b"], "on:b"),
    ] {
        in_any_order(Kind::StateSet, MergeRules::default(), pushes, expected);
    }
}

#[test]
fn the_best_exemplar_of_a_counter_in_any_order() {
    for (pushes, expected) in [
        (&["1 #a@5=0.5", "2 #b@4=9"][..], "3 #a@5=0.5"),
        (&["1 #a@5=0.5", "2"], "3 #a@5=0.5"),
        (&["1 #a=0.5", "2 #b@-7=9"], "3 #b@-7=9"),
        (&["1 #a=0.5", "2 #b=0.1", "4 #b=0.3"], "7 #b=0.3"),
        (&["1 #a@5=0.5", "2 #b@5=0.1", "4 #b@5=-0.3"], "7 #b@5=0.1"),
    ] {
        in_any_order(Kind::Counter, MergeRules::default(), pushes, expected);
    }
}

#[test]
fn the_longest_help_then_the_smallest_bytes() {
    let mut held = "";
    for (offered, better) in
        [("", false), ("b", true), ("b", false), ("c", false), ("a", true), ("zz", true)]
    {
        assert_eq!(better_help(offered, held), better, "{offered:?} over {held:?}");
        if better {
            held = offered;
        }
    }
    assert_eq!(held, "zz");
    assert!(better_help("ß", "s"), "length counts bytes");
}

#[test]
fn a_gauge_rule_goes_on_from_the_value_shown() {
    for (from, pushes, to, next, expected) in [
        (GaugeRule::Last, &["7"][..], GaugeRule::Sum, "2", "9"),
        (GaugeRule::Sum, &["3", "4"], GaugeRule::Min, "9", "7"),
        (GaugeRule::Sum, &["3", "4"], GaugeRule::Max, "9", "9"),
        (GaugeRule::Mean, &["3", "5"], GaugeRule::Sum, "1", "5"),
        (GaugeRule::Max, &["3", "5"], GaugeRule::Mean, "6", "5.5"),
        // A push under the new rule counts as later, even with a smaller value.
        (GaugeRule::Sum, &["3", "4"], GaugeRule::Last, "2", "2"),
        (GaugeRule::Max, &["t=5 9"], GaugeRule::Last, "t=5 -1", "-1"),
        // A value that the new rule would have refused is dropped.
        (GaugeRule::Last, &["NaN"], GaugeRule::Sum, "2", "2"),
        (GaugeRule::Last, &["inf"], GaugeRule::Mean, "2", "2"),
        (GaugeRule::Last, &["NaN"], GaugeRule::Min, "2", "2"),
        (GaugeRule::Last, &["-NaN"], GaugeRule::Max, "2", "2"),
        (GaugeRule::Last, &["NaN"], GaugeRule::Last, "2", "2"),
    ] {
        let mut state = Some(merged(Kind::Gauge, rules(from), pushes).unwrap());
        let (exposition, stamp) = parse(Kind::Gauge, next);
        state.as_mut().unwrap().change_rule(to);
        assert_eq!(state.as_ref().unwrap().gauge_rule(), to);
        push_to(&mut state, Kind::Gauge, rules(to), &exposition, stamp).unwrap();
        let shown = shown(Kind::Gauge, &state.unwrap());
        assert_eq!(shown, expected, "{from} {pushes:?}, then {to} {next}");
    }
}

#[test]
fn what_was_checked_by_another_rule_spoils_nothing() {
    // The operator changes the rule of a series between the check and the merge of a push.
    for (rule, shown_after) in [
        (GaugeRule::Sum, "3"),
        (GaugeRule::Mean, "3"),
        (GaugeRule::Min, "3"),
        (GaugeRule::Max, "3"),
        (GaugeRule::Last, "NaN"),
    ] {
        let mut state = merged(Kind::Gauge, rules(rule), &["3"]).unwrap();
        let (exposition, stamp) = parse(Kind::Gauge, "t=1 NaN");
        state.merge(&exposition.series().next().unwrap(), stamp);
        assert_eq!(shown(Kind::Gauge, &state), shown_after, "{rule}");
    }
}
