//! A store of an older format is continued in the current one.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::*;

/// A store as version 0.1 wrote it while its format was 1: a segment with a few commits.
fn of_format_1() -> (BTreeMap<String, Vec<u8>>, Records) {
    let (magic, store) = (u64::from_le_bytes(*b"TALLYLOG"), 77_u64);
    let sum = |bytes: &[u8], seed| xxh3_64_with_seed(bytes, seed).to_le_bytes();
    let words =
        |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let mut log = words(&[magic, store, 1, 0]);
    log.extend(sum(&log, magic));
    let mut records = Records::default();
    let mut random = Random(3);
    for commit in 1..=20 {
        let mut batch = Batch::default();
        let mut changes = Vec::new();
        for _ in 0..3 {
            let (key, value) = ([random.below(9) as u8], vec![7; random.below(30) as usize]);
            changes.push(Table::Series as u8);
            changes.extend(1_u32.to_le_bytes());
            if random.below(4) == 0 {
                changes.extend([0xff; 4]);
                changes.extend(key);
                batch.delete(Table::Series, &key);
            } else {
                changes.extend((value.len() as u32).to_le_bytes());
                changes.extend(key);
                changes.extend(&value);
                batch.put(Table::Series, &key, &value);
            }
        }
        records.apply(&batch).unwrap();
        records.commit = commit;
        let offset = log.len() as u64;
        let mut frame = words(&[changes.len() as u64, commit, 1, records.iter().count() as u64]);
        frame.extend(changes);
        frame.extend(sum(&frame, store ^ 1_u64.rotate_left(40) ^ offset));
        log.extend(frame);
    }
    let mut mark = vec![0; SLOTS[1] as usize + SLOT_BYTES];
    let last = Mark { commit: 20, segment: 1, end: log.len() as u64 };
    mark[..SLOT_BYTES].copy_from_slice(&last.bytes());
    let files = [
        (FORMAT_FILE.to_owned(), b"Tallygate store, format 1\n".to_vec()),
        (MARK_FILE.to_owned(), mark),
        (format::segment_name(1), log),
    ];
    (files.into(), records)
}

#[test]
fn a_store_of_format_1_goes_on_in_format_2() {
    let (contents, before) = of_format_1();
    assert!(before.iter().count() > 3);
    let whole = Simulated::with(&contents);
    // It is left alone until something has to be written.
    assert_eq!(open(&whole).unwrap().1, before);
    assert_eq!(whole.contents(), contents);

    let go_on = |disk: &Simulated| -> u64 {
        let Ok((mut engine, mut records, mut acknowledged)) = open(disk) else { return 0 };
        for commit in acknowledged + 1..=60 {
            let batch = changes_to(&records, &mut Random(commit));
            if commit_to(&mut engine, commit, &batch).is_err() {
                break;
            }
            records.apply(&batch).unwrap();
            acknowledged = commit;
        }
        acknowledged
    };
    let mut expected = vec![before];
    for commit in 21..=60 {
        let mut records = expected.last().unwrap().clone();
        records.apply(&changes_to(&records, &mut Random(commit))).unwrap();
        records.commit = commit;
        expected.push(records);
    }
    assert_eq!(go_on(&whole), 60);
    assert_eq!(open(&whole).unwrap().1, expected[40]);
    let after = whole.contents();
    assert_eq!(after[FORMAT_FILE], format::format_text().as_bytes());
    assert!(!after.contains_key(&format::segment_name(1)), "upkeep has removed the old segment");

    // The machine may stop at any time.
    for stop in 0..=whole.operations() {
        let disk = Simulated::with(&contents);
        disk.set_faults(Faults { stop_at: Some(stop), ..Faults::default() });
        let acknowledged = go_on(&disk).max(20);
        for crash in [
            Crash::Process,
            Crash::Machine { writes: 0, bytes: 0 },
            Crash::Machine { writes: 0, bytes: 25 },
            Crash::Machine { writes: 1, bytes: 30 },
        ] {
            let (_, records, commit) = open(&disk.after(crash)).unwrap();
            assert!(acknowledged <= commit && commit <= acknowledged + 1, "{stop} {crash:?}");
            assert_eq!(records, expected[commit as usize - 20], "{stop} {crash:?}");
        }
    }
}
