//! Any operations in any order on one thread; compares after every step.

use proptest::prelude::*;
use proptest::sample::select;
use tallygate::model::Grouping;
use tallygate::store::Store;

use super::assert_same;
use super::common::model::{Model, Refused};
use super::common::strategies::{grouping, push, wild_push};
use super::common::{Push, cases};

#[derive(Clone, Debug)]
enum Step {
    Push(Box<Push>),
    Wait { ms: i64 },
    RemoveGroup { grouping: Vec<(String, String)>, dry_run: bool },
    RemoveMatching { what: What, dry_run: bool },
    Expire,
}

/// A selector, as far as the store is concerned.
#[derive(Clone, Copy, Debug)]
enum What {
    All,
    Family(&'static str),
    Label(&'static str),
}

impl What {
    fn matches(self, name: &str, labels: &str) -> bool {
        match self {
            What::All => true,
            What::Family(family) => name == family,
            What::Label(label) => labels.split(',').any(|pair| pair == label),
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let push = prop_oneof![
        // Pushes that are always accepted, with or without a time to live.
        3 => (push(), prop_oneof![Just(0), 1..6u32]).prop_map(|(push, ttl_s)| Push { ttl_s, ..push }),
        4 => wild_push(),
    ];
    let what = select(vec![
        What::All,
        What::Family("c_total"),
        What::Family("h"),
        What::Label("a=\"1\""),
        What::Label("job=\"j1\""),
    ]);
    prop_oneof![
        8 => push.prop_map(|push| Step::Push(Box::new(push))),
        2 => (0..3_000i64).prop_map(|ms| Step::Wait { ms }),
        1 => (grouping(), any::<bool>())
            .prop_map(|(grouping, dry_run)| Step::RemoveGroup { grouping, dry_run }),
        1 => (what, prop::bool::weighted(0.7))
            .prop_map(|(what, dry_run)| Step::RemoveMatching { what, dry_run }),
        2 => Just(Step::Expire),
    ]
}

proptest! {
    #![proptest_config(cases(160))]

    #[test]
    fn every_step_does_what_the_model_does(steps in prop::collection::vec(step(), 1..30)) {
        let (store, mut model) = (Store::default(), Model::default());
        let mut now_ms = 1_700_000_000_000;
        for step in steps {
            let now_s = tallygate::store::seconds(now_ms);
            match step {
                Step::Push(push) => {
                    let push = Push { now_ms, ..*push };
                    let applied = push.apply(&store);
                    let born = applied.as_ref().map(|applied| applied.series_born);
                    prop_assert_eq!(born.map_err(|_| Refused), model.push(&push), "{:?}", applied);
                }
                Step::Wait { ms } => now_ms += ms,
                Step::RemoveGroup { grouping, dry_run } => {
                    let grouping = Grouping::new(
                        grouping.iter().map(|(n, v)| (n.as_str(), v.as_str())),
                    ).unwrap();
                    let removed = store.remove_group(grouping.key(), dry_run);
                    prop_assert_eq!(removed.series, model.remove_group(grouping.key(), dry_run));
                }
                Step::RemoveMatching { what, dry_run } => {
                    let matches = |name: &str, labels: &str| what.matches(name, labels);
                    let removed = store.remove_matching(dry_run, matches);
                    prop_assert_eq!(removed.series, removed.families.values().sum::<usize>());
                    prop_assert_eq!(removed.series, model.remove_matching(dry_run, matches));
                }
                Step::Expire => {
                    prop_assert_eq!(store.remove_expired(now_s, u32::MAX).series, model.expire(now_s));
                }
            }
            assert_same(&store, &model);
        }
    }
}
