//! A restored store equals the one that was written: not only what it shows, but also the outcome of
//! later pushes, deletions and times to live.

use std::sync::Arc;

use proptest::prelude::*;
use tallygate::persistence::disk::simulated::{Crash, Faults, Simulated};
use tallygate::persistence::disk::{Disk, Sizes};
use tallygate::persistence::memory::Records;
use tallygate::persistence::{Ack, Batch, Commits, Engine, Record, each};
use tallygate::store::Store;

use crate::common::strategies::wild_push;
use crate::common::{Push, cases, shown};

/// Commits to the records, as to a disk.
fn commit(store: &Store, records: &mut Records) {
    let mut batch = Batch::default();
    store.collect(&mut batch);
    records.apply(&batch).unwrap();
}

fn restored(records: &Records) -> Store {
    let store = Store::new(Arc::new(Commits::new(Ack::Synced)));
    let mut restore = store.restore();
    // In reverse order, in which no pushes would have come.
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

/// A store, and the disk that it is committed to.
struct Lasting {
    store: Store,
    engine: Disk,
    /// What the next commit has to write, including what a failed one could not.
    pending: Batch,
    commit: u64,
}

impl Lasting {
    fn on(disk: &Simulated) -> Lasting {
        // A few commits take several files.
        let sizes = Sizes { segment_bytes: [1_500, 1_500], ahead_bytes: 300 };
        let mut engine = Disk::over(Box::new(disk.clone()), sizes).unwrap();
        let store = Store::new(Arc::new(Commits::new(Ack::Synced)));
        let mut restore = store.restore();
        let commit = engine.load(&mut each(|record| restore.record(record))).unwrap();
        restore.finish().unwrap();
        Lasting { store, engine, pending: Batch::default(), commit }
    }

    fn commit(&mut self) -> bool {
        self.store.collect(&mut self.pending);
        self.commit += 1;
        let Lasting { engine, pending, commit, .. } = self;
        let is_good = engine.write(*commit, pending).and_then(|()| engine.sync()).is_ok();
        if is_good {
            pending.clear();
        }
        is_good
    }

    fn seen(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        (shown(&self.store), lives(&self.store))
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push(Box<Push>),
    /// The clock may also step back.
    Wait(i64),
    RemoveSome(usize),
    RemoveAll,
    Expire,
    Commit,
    FailedCommit,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let push = (wild_push(), prop_oneof![Just(0), 1..6u32])
        .prop_map(|(push, ttl_s)| Step::Push(Box::new(Push { ttl_s, ..push })));
    prop_oneof![
        10 => push,
        3 => (-3_000..6_000i64).prop_map(Step::Wait),
        2 => (0..3_usize).prop_map(Step::RemoveSome),
        1 => Just(Step::RemoveAll),
        3 => Just(Step::Expire),
        6 => Just(Step::Commit),
        1 => Just(Step::FailedCommit),
        2 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(cases(192))]

    /// Series come and go, with different types and times to live, between commits, over restarts and
    /// while the disk fails: a restart restores the state of the last commit that succeeded.
    #[test]
    fn restarts_between_anything(steps in prop::collection::vec(step(), 1..60)) {
        let mut disk = Simulated::default();
        let mut lasting = Lasting::on(&disk);
        let mut safe = lasting.seen();
        let mut now_ms = 1_700_000_000_000;
        for step in steps {
            match step {
                Step::Push(push) => _ = Push { now_ms, ..*push }.apply(&lasting.store),
                Step::Wait(ms) => now_ms += ms,
                Step::RemoveSome(rest) => {
                    let is_one = |name: &str, labels: &str| (name.len() + labels.len()) % 3 == rest;
                    lasting.store.remove_matching(false, is_one);
                }
                Step::RemoveAll => _ = lasting.store.remove_matching(false, |_, _| true),
                Step::Expire => {
                    lasting.store.remove_expired(tallygate::store::seconds(now_ms), u32::MAX);
                }
                Step::Commit => {
                    prop_assert!(lasting.commit());
                    safe = lasting.seen();
                }
                Step::FailedCommit => {
                    disk.set_faults(Faults { failing_syncs: true, ..Faults::default() });
                    // If nothing has to be written, nothing fails.
                    if lasting.commit() {
                        safe = lasting.seen();
                    }
                    disk.set_faults(Faults::default());
                }
                Step::Restart => {
                    disk = disk.after(Crash::Machine { writes: 0, bytes: 0 });
                    lasting = Lasting::on(&disk);
                    prop_assert_eq!(lasting.seen(), safe);
                    safe = lasting.seen();
                }
            }
        }
    }

    /// 6 and 7 without the disk, which is covered by the tests of the engine.
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
        // And again, from what the restored store writes.
        commit(&other, &mut records);
        prop_assert_eq!(shown(&restored(&records)), shown(&store));
    }

    /// A damaged record is refused, or is a valid record. Never a panic.
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
