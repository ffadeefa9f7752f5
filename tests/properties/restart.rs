//! What is written and taken back is what was: not just what is shown, but what comes of later
//! pushes.

use std::sync::Arc;

use proptest::prelude::*;
use tallygate::persistence::memory::Records;
use tallygate::persistence::{Ack, Batch, Commits, Record};
use tallygate::store::Store;

use crate::common::strategies::wild_push;
use crate::common::{Push, cases, shown};

/// What a disk would hold after this commit.
fn commit(store: &Store, records: &mut Records) {
    let mut batch = Batch::default();
    store.collect(&mut batch);
    records.apply(&batch).unwrap();
}

fn restored(records: &Records) -> Store {
    let store = Store::new(Arc::new(Commits::new(Ack::Synced)));
    let mut restore = store.restore();
    // In an order in which no push would come.
    records.iter().rev().for_each(|record| restore.record(record).unwrap());
    restore.finish().unwrap();
    store
}

/// Group, start, last push and expiry of each series, and whether its family keeps its type.
fn lives(store: &Store) -> Vec<String> {
    let families = store.families();
    let lives = families.iter().flat_map(|family| {
        let series = family.series();
        let life = |series: &tallygate::store::SeriesRef| {
            let (group, created_ms) = (series.group(), series.created_ms());
            let (touched_s, expires_s) = (series.touched_s(), series.expires_s());
            let (name, labels) = (family.name(), series.labels());
            let regular = family.is_regular();
            format!("{name} {labels} {group} {created_ms} {touched_s} {expires_s:?} {regular}")
        };
        series.iter().map(life).collect::<Vec<_>>()
    });
    lives.collect()
}

proptest! {
    #![proptest_config(cases(192))]

    /// 6 and 7 without the disk, whose part is told in the tests of the engine.
    #[test]
    fn restart(
        before in prop::collection::vec((wild_push(), any::<bool>(), 0..8_u8), 1..8),
        after in prop::collection::vec(wild_push(), 0..4),
    ) {
        let store = Store::new(Arc::new(Commits::new(Ack::Synced)));
        let mut records = Records::default();
        for (push, committed, removed) in &before {
            let _ = push.apply(&store);
            if *removed == 0 {
                store.remove_matching(false, |name, labels| (name.len() + labels.len()) % 2 == 0);
            }
            if *committed {
                commit(&store, &mut records);
            }
        }
        commit(&store, &mut records);
        prop_assert_eq!(store.pending_series(), 0);

        let other = restored(&records);
        prop_assert_eq!(shown(&other), shown(&store));
        prop_assert_eq!(lives(&other), lives(&store));
        prop_assert_eq!(other.series_count(), store.series_count());
        let apply = |push: &Push, store: &Store| push.apply(store).map_err(|e| e.to_string());
        for push in &after {
            prop_assert_eq!(apply(push, &store), apply(push, &other));
        }
        prop_assert_eq!(shown(&other), shown(&store));
        // And once more, from what the restored one writes.
        commit(&other, &mut records);
        prop_assert_eq!(shown(&restored(&records)), shown(&store));
    }

    /// Whatever is damaged in a record: it is refused, or it is a record. Never a panic.
    #[test]
    fn damaged_records(push in wild_push(), at in any::<prop::sample::Index>(), byte: u8, cut: bool) {
        let store = Store::new(Arc::new(Commits::new(Ack::Synced)));
        let mut records = Records::default();
        let _ = push.apply(&store);
        commit(&store, &mut records);
        let damage = |bytes: &[u8]| {
            let mut damaged = bytes.to_vec();
            let at = at.index(damaged.len());
            if cut { damaged.truncate(at) } else { damaged[at] = byte }
            damaged
        };
        for record in records.iter() {
            let (value, state) = (damage(record.value), record.state.map(damage));
            let mut damaged = vec![Record { value: &value, ..record }];
            if let Some(state) = &state {
                damaged.push(Record { state: Some(state), ..record });
                damaged.push(Record { state: None, ..record });
            }
            for record in damaged {
                let other = Store::default();
                let mut restore = other.restore();
                let taken = restore.record(record);
                prop_assert!(!(cut || record.state.is_none() && state.is_some()) || taken.is_err());
                let _ = restore.finish();
                shown(&other);
            }
        }
    }
}
