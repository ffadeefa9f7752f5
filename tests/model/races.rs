//! Races with only one right outcome, whoever is first.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::thread;

use tallygate::model::exposition::Bucket;
use tallygate::model::{GaugeRule, Kind, NativeBuckets, Number, ReadBuffer, Reading};
use tallygate::store::{AdmitError, ChosenBy, Store, StoreLimit, StoreLimits};

use super::common::{Push, PushHistogram, PushValue, cases, counter, family, shown};
use super::threads::read_all;

const THREADS: usize = 4;

/// How many rounds to run of a race; PROPTEST_CASES can change it.
fn rounds() -> usize {
    cases(256).cases as usize
}

/// Runs one function on all threads at the same moment, and returns all results.
fn at_once<T: Send>(run: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (run, start) = (&run, &start);
                scope.spawn(move || {
                    start.wait();
                    run(thread)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn value(store: &Store, name: &str, labels: &str) -> Option<f64> {
    let families = store.families();
    let family = families.iter().find(|family| family.name() == name)?;
    let all = family.series();
    let series = all.iter().find(|series| series.labels() == labels)?;
    let mut buffer = ReadBuffer::default();
    series.with_state(|state| state.read(family.kind(), 160, &mut buffer));
    match buffer.reading() {
        Reading::Counter { value, .. } => Some(value),
        other => panic!("{other:?}"),
    }
}

/// One counter family with these values of the label `a`.
fn many(name: &str, values: &[String]) -> Push {
    let mut family = counter(name, &[], 1.0);
    family.series = values
        .iter()
        .flat_map(|value| counter(name, &[("a", value.as_str())], 1.0).series)
        .collect();
    Push::of(vec![family])
}

#[test]
fn births_of_one_series_at_once_give_one_series_with_all() {
    let store = Store::default();
    for round in 0..rounds() {
        let name = format!("c{}_total", round / 8);
        let label = round.to_string();
        let born = at_once(|thread| {
            // Each with a series of its own, before or after the shared one.
            let own = thread.to_string();
            let mut families = vec![counter(&name, &[("a", &label)], 0.1)];
            families[0].series.extend(counter("", &[("a", &label), ("b", &own)], 1.0).series);
            families[0].series.rotate_left(thread % 2);
            Push::of(families).apply(&store).unwrap().series_born
        });
        assert_eq!(born.iter().sum::<usize>(), THREADS + 1);
        assert_eq!(store.series_count(), (round + 1) * (THREADS + 1));
        assert_eq!(value(&store, &name, &format!("a=\"{label}\"")), Some(0.4));
    }
    assert_eq!(store.family_count(), store.families().len());
}

#[test]
fn of_raced_kinds_one_wins_and_the_others_leave_nothing() {
    let kinds = [Kind::Counter, Kind::Gauge, Kind::Summary, Kind::Histogram];
    let store = Store::default();
    for round in 0..rounds() {
        let contested = format!("k{round}");
        let won = at_once(|thread| {
            let value = match kinds[thread] {
                Kind::Summary => PushValue::Summary { count: Some(Number::Int(1)), sum: Some(1.0) },
                Kind::Histogram => PushValue::Histogram(PushHistogram {
                    count: Some(Number::Int(1)),
                    ..PushHistogram::default()
                }),
                _ => PushValue::Scalar(1.0),
            };
            let families = vec![
                counter(&format!("before_{round}_{thread}"), &[], 1.0),
                family(&contested, kinds[thread], &[], value),
                counter(&format!("after_{round}_{thread}"), &[], 1.0),
            ];
            match Push::of(families).apply(&store) {
                Ok(applied) => {
                    assert_eq!(applied.series_born, 3);
                    true
                }
                Err(AdmitError::Kind { .. }) => false,
                Err(other) => panic!("{other}"),
            }
        });
        let winners: Vec<usize> = (0..THREADS).filter(|&thread| won[thread]).collect();
        assert_eq!(winners.len(), 1, "round {round}");
        let shown = shown(&store);
        assert_eq!(shown[&contested].kind, kinds[winners[0]]);
        for (thread, won) in won.into_iter().enumerate() {
            for side in ["before", "after"] {
                let there = shown.contains_key(&format!("{side}_{round}_{thread}"));
                assert_eq!(there, won, "round {round}");
            }
        }
        store.remove_matching(false, |_, _| true);
        assert_eq!((store.series_count(), store.family_count()), (0, 0));
    }
}

#[test]
fn a_limit_raced_for_is_never_passed() {
    for round in 0..rounds() / 4 {
        let store = Store::default();
        let limits = StoreLimits { series: 10, ..StoreLimits::default() };
        let accepted = at_once(|thread| {
            let pushes = (0..5).map(|turn| {
                let label = format!("{round} {thread} {turn}");
                let push = Push::of(vec![counter("c_total", &[("a", &label)], 1.0)]);
                match (Push { limits, ..push }).apply(&store) {
                    Ok(_) => 1,
                    Err(AdmitError::Limit(error)) => {
                        assert_eq!(error.limit, StoreLimit::Series);
                        0
                    }
                    Err(other) => panic!("{other}"),
                }
            });
            pushes.sum::<usize>()
        });
        assert_eq!(accepted.iter().sum::<usize>(), 10);
        assert_eq!(store.series_count(), 10);
    }
}

#[test]
fn a_sweep_never_loses_an_acknowledged_push() {
    const TTL_S: u32 = 2;
    let store = Store::default();
    let clock = AtomicU32::new(1_700_000_000);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let due: Vec<String> = (0..2_500).map(|i| i.to_string()).collect();
            let due = Push { ttl_s: 1, now_ms: 1, ..many("c_total", &due) };
            let sweep = |passed_s| {
                let now_s = clock.fetch_add(passed_s, SeqCst) + passed_s;
                store.remove_expired(now_s, u32::MAX).series
            };
            for round in 0..rounds() as u32 / 32 {
                // So many are due that a series may be pushed to after it was found due, but before its
                // turn; those of the pushers come last.
                due.apply(&store).unwrap();
                assert!(sweep(1 + round % (TTL_S + 2)) >= 2_500);
                // And then so few that the sweep may come in the middle of a push.
                for _ in 0..20 {
                    sweep(TTL_S + 1);
                    thread::yield_now();
                }
            }
            done.store(true, SeqCst);
        });
        at_once(|thread| {
            // Many in one push, so that a sweep may come between finding a series and adding to it.
            let labels: Vec<String> = (0..250).map(|i| format!("pusher {thread} {i}")).collect();
            let push = many("c_total", &labels);
            let first = format!("a=\"{}\"", labels[0]);
            let mut last = None;
            while !done.load(SeqCst) {
                let pushed_s = clock.load(SeqCst);
                let now_ms = i64::from(pushed_s) * 1000;
                Push { now_ms, ttl_s: TTL_S, ..push.clone() }.apply(&store).unwrap();
                let seen = value(&store, "c_total", &first);
                let now_s = clock.load(SeqCst);
                let kept = |pushed_s: u32| now_s <= pushed_s + TTL_S;
                match (seen, last) {
                    // It is already due again.
                    (None, _) => assert!(!kept(pushed_s), "lost at once"),
                    (Some(seen), Some((before_s, before))) if kept(before_s) => {
                        assert_eq!(seen, before + 1.0);
                    }
                    (Some(seen), Some((_, before))) => {
                        assert!(seen == 1.0 || seen == before + 1.0);
                    }
                    (Some(seen), None) => assert!(seen >= 1.0),
                }
                last = seen.map(|seen| (pushed_s, seen));
            }
        });
    });

    // 15: once everything has expired, nothing is shown.
    store.remove_expired(clock.load(SeqCst) + TTL_S + 1, u32::MAX);
    assert!(shown(&store).is_empty());
    assert_eq!((store.series_count(), store.family_count()), (0, 0));
}

#[test]
fn deletions_raced_with_births_leave_the_books_in_order() {
    let store = Store::default();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(SeqCst) {
                read_all(&store);
            }
        });
        at_once(|thread| {
            for turn in 0..rounds() * 8 {
                match (thread, turn % 4) {
                    (0, _) => drop(store.remove_group("job=\"j\"", turn % 5 == 0)),
                    (1, 0) => drop(store.remove_matching(false, |name, _| name == "c0_total")),
                    _ => {
                        let name = format!("c{}_total", turn % 3);
                        let label = (turn % 7).to_string();
                        let grouping = vec![("job".to_owned(), "j".to_owned())];
                        let push = Push::of(vec![counter(&name, &[("a", &label)], 1.0)]);
                        Push { grouping, ..push }.apply(&store).unwrap();
                    }
                }
            }
        });
        done.store(true, SeqCst);
    });
    let left: usize = shown(&store).values().map(|family| family.series.len()).sum();
    assert_eq!(store.series_count(), left);
    assert_eq!(store.remove_group("job=\"j\"", true).series, left);
    assert_eq!(store.family_count(), store.families().len());
    store.remove_group("job=\"j\"", false);
    assert_eq!((store.series_count(), store.family_count()), (0, 0));
    // No type is left behind, and limits are free again.
    let gauge = family("c0_total", Kind::Gauge, &[("job", "j")], PushValue::Scalar(1.0));
    let limits = StoreLimits { series: 1, series_per_job: 1, families: 1, bucket_bounds: 0 };
    Push { limits, ..Push::of(vec![gauge]) }.apply(&store).unwrap();
}

#[test]
fn layouts_that_change_while_histograms_are_read() {
    let store = Store::default();
    let done = AtomicBool::new(false);
    let turns = rounds() as u64 * 4;
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(SeqCst) {
                read_all(&store);
            }
        });
        at_once(|thread| {
            for turn in 0..turns {
                let bound = ((turn * 7 + thread as u64) % 100) as f64 / 10.0;
                let classic = PushHistogram {
                    count: Some(Number::Int(3)),
                    sum: Some(0.1),
                    buckets: vec![Bucket {
                        upper_bound: bound,
                        cumulative_count: Number::Int(2),
                        exemplar: None,
                    }],
                    native: None,
                };
                let native = NativeBuckets {
                    schema: (turn % 9) as i8 - (thread as i8),
                    zero_threshold: f64::from(turn as u32 % 5) / 4.0,
                    zero_count: Number::Int(1),
                    positive: vec![((turn % 20) as i32 - 10, Number::Int(2))],
                    negative: Vec::new(),
                };
                let native =
                    PushHistogram { native: Some(native), buckets: vec![], ..classic.clone() };
                let histogram =
                    |name, value| family(name, Kind::Histogram, &[], PushValue::Histogram(value));
                let families = vec![histogram("classic", classic), histogram("native", native)];
                Push::of(families).apply(&store).unwrap();
            }
        });
        done.store(true, SeqCst);
    });
    let mut buffer = ReadBuffer::default();
    for family in store.families().iter() {
        family.series()[0].with_state(|state| state.read(family.kind(), 160, &mut buffer));
        let Reading::Histogram(histogram) = buffer.reading() else { panic!("{}", family.name()) };
        let pushes = turns * THREADS as u64;
        assert_eq!(histogram.count, Number::Int(3 * pushes));
        let tenth = num_bigint::BigInt::from(pushes) * super::common::exactly::units(0.1);
        assert_eq!(histogram.sum, Some(super::common::exactly::nearest(&tenth)));
    }
}

#[test]
fn rules_that_change_while_gauges_are_pushed() {
    let store = Store::default();
    // Many, so that a rule may change between the check of a value and its merge.
    let gauges = |value: f64| {
        let mut gauges = family("g", Kind::Gauge, &[], PushValue::Scalar(value));
        gauges.series = (0..250)
            .flat_map(|i| {
                let label = i.to_string();
                family("g", Kind::Gauge, &[("a", &label)], PushValue::Scalar(value)).series
            })
            .collect();
        Push::of(vec![gauges])
    };
    let by_operator = |rule, value| {
        let push = gauges(value);
        Push { gauge: Some(rule), chosen_by: ChosenBy::Operator, ..push }.apply(&store).unwrap();
    };
    by_operator(GaugeRule::Last, 1.0);
    at_once(|thread| {
        for turn in 0..rounds() / 4 {
            match (thread, turn % 2) {
                (0, 0) => by_operator(GaugeRule::Sum, 1.0),
                (0, _) => by_operator(GaugeRule::Last, 1.0),
                _ => {
                    match (Push { chosen_by: ChosenBy::Default, ..gauges(f64::NAN) }).apply(&store)
                    {
                        // It is refused while some of them are sums.
                        Ok(_) | Err(AdmitError::Refused { .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
            }
        }
    });
    by_operator(GaugeRule::Sum, 0.0);
    let mut buffer = ReadBuffer::default();
    for series in store.families()[0].series().iter() {
        series.with_state(|state| state.read(Kind::Gauge, 160, &mut buffer));
        match buffer.reading() {
            Reading::Gauge(value) => assert!((0.0..1e6).contains(&value), "{value}"),
            other => panic!("{other:?}"),
        }
    }
}
