#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use tallygate::persistence::disk::simulated::Simulated;
use tallygate::persistence::disk::{Disk, Sizes};
use tallygate::persistence::memory::Records;
use tallygate::persistence::{Batch, Engine, EngineError, each};
use xxhash_rust::xxh3::xxh3_64_with_seed;

// A segment of format 1 or 2, with right checksums around arbitrary commits, or with nothing right at
// all: it is refused, or its content can be written and read again.
fuzz_target!(|bytes: &[u8]| {
    let Some((&how, bytes)) = bytes.split_first() else { return };
    let disk = Simulated::with(&BTreeMap::from([
        ("FORMAT".to_owned(), b"Tallygate store, format 2\n".to_vec()),
        ("MARK".to_owned(), mark()),
        ("0000000001.log".to_owned(), if how == 0 { bytes.to_vec() } else { segment(how, bytes) }),
    ]));
    let Ok((mut engine, mut records)) = load(&disk) else { return };
    let mut batch = Batch::default();
    for record in records.iter() {
        match record.state {
            Some(state) => batch.put_state(record.table, record.key, state),
            None => batch.delete(record.table, record.key),
        }
    }
    records.apply(&batch).expect("they are there");
    records.commit += 1;
    engine
        .write(records.commit, &batch)
        .and_then(|()| engine.sync())
        .expect("a disk without faults");
    assert_eq!(load(&disk).expect("it was just written").1, records);
});

fn load(disk: &Simulated) -> Result<(Disk, Records), EngineError> {
    let sizes = Sizes { segment_bytes: [500, 500], ahead_bytes: 100 };
    let mut engine = Disk::over(Box::new(disk.clone()), sizes)?;
    let mut records = Records::default();
    records.commit = engine.load(&mut each(|record| {
        assert!(records.value(record.table, record.key).is_none(), "a record comes twice");
        records.put(record);
        Ok(())
    }))?;
    // A last commit number that would leave no room for more.
    if records.commit > u64::MAX / 2 {
        return Err(EngineError::Missing { path: String::new() });
    }
    Ok((engine, records))
}

const MAGIC: u64 = u64::from_le_bytes(*b"TALLYLOG");
const STORE: u64 = 7;

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn with_sum(mut bytes: Vec<u8>, seed: u64) -> Vec<u8> {
    let sum = xxh3_64_with_seed(&bytes, seed);
    bytes.extend(sum.to_le_bytes());
    bytes
}

/// A mark that acknowledges nothing.
fn mark() -> Vec<u8> {
    let slot = with_sum(words(&[0; 3]), MAGIC);
    let mut mark = slot.clone();
    mark.resize(4096, 0);
    mark.extend(slot);
    mark
}

/// Two commits; the fuzzer chooses how many records they claim to have.
fn segment(how: u8, bytes: &[u8]) -> Vec<u8> {
    let first = how % 2 == 1;
    let magic = if first { MAGIC } else { u64::from_le_bytes(*b"TALLYLG2") };
    let mut segment = with_sum(words(&[magic, STORE, 1, 0]), MAGIC);
    let (one, other) = bytes.split_at(bytes.len() / 2);
    for (commit, changes) in [(1, one), (2, other)] {
        let (length, tail) = (changes.len() as u64, [commit, 1, u64::from(how >> 1)]);
        let frame = match first {
            true => [&*words(&[length]), &*words(&tail), changes].concat(),
            false => [&*words(&[length]), changes, &*words(&tail)].concat(),
        };
        let seed = STORE ^ 1_u64.rotate_left(40) ^ segment.len() as u64;
        segment.extend(with_sum(frame, seed));
    }
    segment
}
