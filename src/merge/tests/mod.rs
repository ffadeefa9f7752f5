//! Every row of the table in merge-semantics 1, and the hazards of its section 7 that concern merging:
//! pushes in a short [`notation`], and what is then shown or refused.

mod histograms;
mod native;
pub(super) mod notation;
mod scalars;

use super::*;
use crate::model::Exposition;
use notation::{parse, show};

fn rules(gauge: GaugeRule) -> MergeRules {
    MergeRules { gauge, untyped: UntypedRule::Sum }
}

fn untyped(untyped: UntypedRule) -> MergeRules {
    MergeRules { gauge: GaugeRule::Last, untyped }
}

/// Merges pushes to one series the way the store does: checks first, then buckets, then the value.
fn merged(kind: Kind, rules: MergeRules, pushes: &[&str]) -> Result<State, Refusal> {
    let mut state = None;
    for push in pushes {
        let (exposition, stamp) = parse(kind, push);
        push_to(&mut state, kind, rules, &exposition, stamp)?;
    }
    Ok(state.expect("at least one push"))
}

fn push_to(
    state: &mut Option<State>,
    kind: Kind,
    rules: MergeRules,
    exposition: &Exposition,
    stamp: Stamp,
) -> Result<(), Refusal> {
    let series = exposition.series().next().expect("each push has one series");
    check(kind, &series, rules)?;
    if let Some(state) = state {
        state.knows(&series)?;
    }
    let state = state.get_or_insert_with(|| State::new(kind, rules, &series.value));
    if let Some(bounds) = state.grown(&series) {
        state.grow(bounds.into());
    }
    state.merge(&series, stamp);
    Ok(())
}

/// How many native buckets are shown.
const NATIVE_LIMIT: usize = 160;

fn shown(kind: Kind, state: &State) -> String {
    shown_within(kind, state, NATIVE_LIMIT)
}

fn shown_within(kind: Kind, state: &State, native_limit: usize) -> String {
    let mut buffer = ReadBuffer::default();
    state.read(kind, native_limit, &mut buffer);
    show(buffer.reading())
}

/// Asserts that the pushes, merged in this order, show `expected`.
#[track_caller]
fn in_order(kind: Kind, rules: MergeRules, pushes: &[&str], expected: &str) {
    let state = merged(kind, rules, pushes)
        .unwrap_or_else(|refusal| panic!("{kind} {pushes:?}: refused: {refusal}"));
    assert_eq!(shown(kind, &state), expected, "{kind} {pushes:?}");
}

/// Asserts that the pushes, merged in any order, show `expected`.
#[track_caller]
fn in_any_order(kind: Kind, rules: MergeRules, pushes: &[&str], expected: &str) {
    assert!(pushes.len() <= 5, "{} orders are too many", pushes.len());
    for permutation in permutations(pushes) {
        in_order(kind, rules, &permutation, expected);
    }
}

fn permutations<'a>(of: &[&'a str]) -> Vec<Vec<&'a str>> {
    if of.len() < 2 {
        return vec![of.to_vec()];
    }
    let mut all = Vec::new();
    for first in 0..of.len() {
        let mut rest = of.to_vec();
        let first = rest.remove(first);
        for mut permutation in permutations(&rest) {
            permutation.insert(0, first);
            all.push(permutation);
        }
    }
    all
}

/// Asserts that the push is refused after `before`, with this message, and changes nothing.
#[track_caller]
fn refused(kind: Kind, rules: MergeRules, before: &[&str], push: &str, expected: &str) {
    let mut state = (!before.is_empty()).then(|| {
        merged(kind, rules, before)
            .unwrap_or_else(|refusal| panic!("{kind} {before:?}: refused: {refusal}"))
    });
    let untouched = format!("{state:?}");
    let (exposition, stamp) = parse(kind, push);
    match push_to(&mut state, kind, rules, &exposition, stamp) {
        Ok(()) => panic!("{kind} {push:?}: accepted, but should be refused: {expected}"),
        Err(refusal) => assert_eq!(refusal.to_string(), expected, "{kind} {push:?}"),
    }
    assert_eq!(format!("{state:?}"), untouched, "{kind} {push:?}");
}

#[test]
fn every_refusal_has_a_hint() {
    for refusal in [
        Refusal::NotFinite { what: "counter", value: f64::NAN },
        Refusal::Negative { what: "counter", value: -1.0 },
        Refusal::NoCount,
        Refusal::NoSummaryCount,
        Refusal::NoSum,
        Refusal::Untyped,
    ] {
        assert!(!refusal.hint().is_empty(), "{refusal}");
    }
}
