//! Several threads at once, with operations whose order does not matter. So there is one right result,
//! which the model reaches on one thread:
//!
//! - all threads push to shared series, which nobody removes;
//! - each thread pushes to series of its own (in families that all share, and that come and go with
//!   their series), deletes them by group and by selector, and does dry runs of deletions;
//! - the series of the first thread have a time to live, and only this thread advances the time and
//!   sweeps.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use proptest::prelude::*;
use tallygate::model::{HistogramReading, Kind, ReadBuffer, Reading};
use tallygate::store::Store;

use super::assert_same;
use super::common::model::Model;
use super::common::strategies::push;
use super::common::{NATIVE_LIMIT, Push, cases};

const THREADS: usize = 4;

#[derive(Clone, Debug)]
enum Act {
    Shared(Box<Push>),
    Own(Box<Push>),
    RemoveOwnGroup,
    RemoveOwnFamily(&'static str),
    /// Dry runs of removing everything.
    DryRuns,
    Expire,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => push().prop_map(|push| Act::Shared(Box::new(push))),
        6 => push().prop_map(|push| Act::Own(Box::new(push))),
        1 => Just(Act::RemoveOwnGroup),
        2 => proptest::sample::select(vec!["own_c_total", "own_h", "own_g_last"])
            .prop_map(Act::RemoveOwnFamily),
        1 => Just(Act::DryRuns),
        1 => Just(Act::Expire),
    ]
}

/// One thread, which adapts operations so that they are its own.
#[derive(Clone, Copy, Debug)]
struct Actor {
    thread: usize,
}

impl Actor {
    fn label(self) -> String {
        format!("thread=\"{}\"", self.thread)
    }

    /// Metadata and mixed kinds vanish with a family. In families that may vanish, they would depend on
    /// when that happens.
    fn own(self, push: &Push, now_ms: i64) -> Push {
        let mut own = push.clone();
        own.grouping = vec![("thread".to_owned(), self.thread.to_string())];
        own.families.retain(|family| family.name != "d_total");
        for family in &mut own.families {
            family.name.insert_str(0, "own_");
            family.help.clear();
            family.unit.clear();
        }
        if self.expires() {
            (own.ttl_s, own.now_ms) = (2, now_ms);
        }
        own
    }

    fn expires(self) -> bool {
        self.thread == 0
    }

    fn act(self, acts: &[Act], target: &mut dyn Target) {
        let mut now_ms = 1_700_000_000_000;
        for act in acts {
            now_ms += 700;
            match act {
                Act::Shared(push) => target.push(push),
                Act::Own(push) => target.push(&self.own(push, now_ms)),
                Act::RemoveOwnGroup => target.remove_group(&self.label(), false),
                Act::RemoveOwnFamily(name) => {
                    let label = self.label();
                    target.remove_matching(false, &|family, labels| {
                        family == *name && labels.split(',').any(|pair| pair == label)
                    });
                }
                Act::DryRuns => {
                    target.remove_group(&self.label(), true);
                    target.remove_matching(true, &|_, _| true);
                }
                Act::Expire if self.expires() => {
                    target.expire(tallygate::store::seconds(now_ms));
                }
                Act::Expire => {}
            }
        }
    }
}

/// The store, or the model.
trait Target {
    fn push(&mut self, push: &Push);
    fn remove_group(&mut self, key: &str, dry_run: bool);
    fn remove_matching(&mut self, dry_run: bool, matches: &dyn Fn(&str, &str) -> bool);
    fn expire(&mut self, now_s: u32);
}

impl Target for &Store {
    fn push(&mut self, push: &Push) {
        push.apply(self).unwrap();
    }

    fn remove_group(&mut self, key: &str, dry_run: bool) {
        Store::remove_group(self, key, dry_run);
    }

    fn remove_matching(&mut self, dry_run: bool, matches: &dyn Fn(&str, &str) -> bool) {
        Store::remove_matching(self, dry_run, matches);
    }

    fn expire(&mut self, now_s: u32) {
        self.remove_expired(now_s, u32::MAX);
    }
}

impl Target for Model {
    fn push(&mut self, push: &Push) {
        Model::push(self, push).unwrap();
    }

    fn remove_group(&mut self, key: &str, dry_run: bool) {
        Model::remove_group(self, key, dry_run);
    }

    fn remove_matching(&mut self, dry_run: bool, matches: &dyn Fn(&str, &str) -> bool) {
        Model::remove_matching(self, dry_run, matches);
    }

    fn expire(&mut self, now_s: u32) {
        Model::expire(self, now_s);
    }
}

proptest! {
    #![proptest_config(cases(32))]

    #[test]
    fn threads_end_where_the_model_does(
        scripts in prop::collection::vec(prop::collection::vec(act(), 10..40), THREADS),
    ) {
        let store = Store::default();
        let start = Barrier::new(THREADS + 1);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let actors: Vec<_> = scripts.iter().enumerate().map(|(thread, acts)| {
                let (mut store, start) = (&store, &start);
                scope.spawn(move || {
                    start.wait();
                    Actor { thread }.act(acts, &mut store);
                })
            }).collect();
            let reader = scope.spawn(|| {
                start.wait();
                while !done.load(Relaxed) {
                    read_all(&store);
                }
            });
            actors.into_iter().for_each(|actor| actor.join().unwrap());
            done.store(true, Relaxed);
            reader.join().unwrap();
        });

        let mut model = Model::default();
        for (thread, acts) in scripts.iter().enumerate() {
            Actor { thread }.act(acts, &mut model);
        }
        assert_same(&store, &model);
    }
}

/// 9: whatever is pushed in the meantime, a scrape reads everything in order, and it adds up.
pub(crate) fn read_all(store: &Store) {
    let mut buffer = ReadBuffer::default();
    let families = store.families();
    assert!(families.is_sorted_by(|a, b| a.name() < b.name()), "families");
    for family in families.iter() {
        let all = family.series();
        assert!(all.is_sorted_by(|a, b| a.labels() < b.labels()), "series of {}", family.name());
        for series in all.iter() {
            series.with_state(|state| state.read(family.kind(), NATIVE_LIMIT, &mut buffer));
            match (family.kind(), buffer.reading()) {
                (Kind::Histogram | Kind::GaugeHistogram, Reading::Histogram(histogram)) => {
                    check_histogram(histogram);
                }
                (Kind::Counter, Reading::Counter { value, .. }) => assert!(value >= 0.0),
                (Kind::Info, Reading::Gauge(value)) => assert_eq!(value, 1.0),
                (Kind::Gauge, Reading::Gauge(_))
                | (Kind::Untyped, Reading::Untyped(_))
                // Untyped when it was read, and found to be a counter a moment later.
                | (Kind::Counter, Reading::Untyped(_))
                | (Kind::Summary, Reading::Summary { .. })
                | (Kind::StateSet, Reading::StateSet(_)) => {}
                (kind, reading) => panic!("{kind} {reading:?}"),
            }
        }
    }
}

fn check_histogram(histogram: &HistogramReading) {
    let buckets = &histogram.buckets;
    assert!(buckets.is_sorted_by(|a, b| a.upper_bound < b.upper_bound), "{histogram:?}");
    assert!(buckets.is_sorted_by(|a, b| a.cumulative_count <= b.cumulative_count), "{histogram:?}");
    match buckets.last() {
        Some(last) => {
            assert_eq!(last.upper_bound, f64::INFINITY);
            assert_eq!(last.cumulative_count, histogram.count, "{histogram:?}");
        }
        None => assert!(histogram.native.is_some(), "{histogram:?}"),
    }
    if let Some(native) = &histogram.native {
        let sides = native.positive.iter().chain(&native.negative).map(|(_, count)| count);
        let total: f64 = sides.chain([&native.zero_count]).map(|count| count.as_f64()).sum();
        assert_eq!(total, histogram.count.as_f64(), "{histogram:?}");
    }
}
