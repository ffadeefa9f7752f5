//! Compares the store with a [model](common::model) that is obviously right: any operations one by one,
//! operations that commute from several threads at once, and races with only one right outcome.

#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "../common/mod.rs"]
mod common;
mod races;
mod steps;
mod threads;

use std::collections::BTreeMap;

use common::model::{Life, Model};
use tallygate::store::Store;

/// The same as in the [model](Model::lives).
fn lives(store: &Store) -> BTreeMap<(String, String), Life> {
    let mut lives = BTreeMap::new();
    for family in store.families().iter() {
        for series in family.series().iter() {
            let life = (
                series.group().to_owned(),
                series.created_ms(),
                series.touched_s(),
                series.expires_s(),
            );
            lives.insert((family.name().to_owned(), series.labels().into_owned()), life);
        }
    }
    lives
}

#[track_caller]
fn assert_same(store: &Store, model: &Model) {
    assert_eq!(common::shown(store), model.shown());
    assert_eq!(lives(store), model.lives());
    assert_eq!(store.series_count(), model.series_count());
    assert_eq!(store.family_count(), model.family_count());
}
