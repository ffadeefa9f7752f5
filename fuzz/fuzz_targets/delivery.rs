#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use tallygate::delivery::{
    Attempt, Claimed, Delivery, Key, Memory, PushId, Sequence, TEXT_BYTES_MAX, WINDOW,
};
use tallygate::model::Grouping;

const START: i64 = 1_700_000_000_000;
const MEMORY: Memory = Memory { window_ms: 1000, keys_bytes: 16 << 10, sources: 64 };

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    if kind % 2 == 0 { read(rest) } else { count(rest) }
});

/// A key that is accepted can be written and read again.
fn read(field: &[u8]) {
    let Ok(key) = Key::parse(field) else { return };
    assert!((1..=TEXT_BYTES_MAX).contains(&key.as_str().len()));
    assert!(key.made_ms().is_none_or(|ms| (0..1 << 48).contains(&ms)));
    let escaped = key.as_str().replace('\\', "\\\\").replace('"', "\\\"");
    assert_eq!(Key::parse(format!("\"{escaped}\"").as_bytes()), Ok(key.clone()));

    let grouping = Grouping::default();
    let id = PushId::Key(key);
    let attempt = Attempt { principal: None, grouping: &grouping, id: &id, content: &[] };
    let delivery = Delivery::new([0; 16], START, true);
    if let Ok(Claimed::Now(claim)) = delivery.claim(&attempt, START, MEMORY) {
        claim.done();
        let again = delivery.claim(&attempt, START, MEMORY);
        assert!(matches!(again, Ok(Claimed::Before)));
    }
}

/// No number counts twice, and every new one that is not too far behind counts once. Each step is two
/// bytes: a number, relative to the highest one, and whether the push is accepted.
fn count(steps: &[u8]) {
    let delivery = Delivery::new([0; 16], START, true);
    let grouping = Grouping::default();
    let mut applied = BTreeSet::new();
    for step in steps.chunks_exact(2) {
        let high = applied.last().copied().unwrap_or(1000_u64);
        let number = (high + u64::from(step[0])).saturating_sub(200);
        let (source, epoch) = ("s".into(), "e".into());
        let id = PushId::Sequence(Sequence { source, epoch, number });
        let attempt = Attempt { principal: None, grouping: &grouping, id: &id, content: &[] };
        let near = applied.is_empty() || number + WINDOW > high;
        match delivery.claim(&attempt, START, MEMORY) {
            Ok(Claimed::Now(claim)) => {
                assert!(near && !applied.contains(&number));
                if step[1] % 4 != 0 {
                    claim.done();
                    applied.insert(number);
                }
            }
            Ok(Claimed::Before) => assert!(applied.contains(&number)),
            Err(_) => assert!(!near),
        }
        assert!(!delivery.is_claimed(&attempt));
    }
}
