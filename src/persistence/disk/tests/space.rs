//! How much the store takes on the disk, and how much is written.

use super::*;

#[test]
fn a_segment_in_which_nothing_is_valid_goes() {
    let disk = Simulated::default();
    let (mut engine, _, _) = open(&disk).unwrap();
    for commit in 1..=60 {
        let mut batch = Batch::default();
        batch.put(Table::Series, b"hot", &[7; 50]);
        commit_to(&mut engine, commit, &batch).unwrap();
        let contents = disk.contents();
        let segments = contents.keys().filter(|name| format::segment_number(name).is_some());
        assert!(segments.count() <= 2, "{:?}", contents.keys());
    }
}

#[test]
fn segments_in_which_nothing_is_valid_any_more_go_at_once() {
    let disk = Simulated::default();
    let (mut engine, _, _) = open(&disk).unwrap();
    let (mut births, mut deaths) = (Batch::default(), Batch::default());
    for commit in 1..=20_u64 {
        let key = commit.to_le_bytes();
        births.clear();
        births.put_with_state(Table::Series, &key, &[7; 300], b"state");
        deaths.delete(Table::Series, &key);
        commit_to(&mut engine, commit, &births).unwrap();
    }
    assert!(engine.segments.len() > 15, "{:?}", engine.segments);
    commit_to(&mut engine, 21, &deaths).unwrap();
    assert_eq!(engine.segments.len(), 1, "{:?}", engine.segments);
    assert!(!engine.is_behind());
    let (_, records, commit) = open(&disk).unwrap();
    assert_eq!((records.iter().count(), commit), (0, 21));
}

/// Like groups, which are one whole record each.
#[test]
fn large_records_are_copied_no_more_often_than_small_ones() {
    let written = |bytes: usize, records: u32| {
        let disk = Simulated::default();
        let (mut engine, _, _) = open_with(&disk, Sizes::default()).unwrap();
        let (mut commit, mut batch, value) = (0, Batch::default(), vec![7; bytes]);
        let start = disk.written_bytes();
        for n in (0..records).chain((0..3 * records).map(|n| n.wrapping_mul(7) % records)) {
            commit += 1;
            batch.clear();
            batch.put(Table::Groups, &n.to_le_bytes(), &value);
            commit_to(&mut engine, commit, &batch).unwrap();
        }
        (disk.written_bytes() - start) as f64 / (4 * records as usize * bytes) as f64
    };
    let (small, large) = (written(10_000, 4_000), written(1_000_000, 40));
    assert!(large < small * 1.3, "{large} bytes are written for each, {small} for small ones");
}

/// Hours of constant overwriting, without taking hours.
#[test]
fn the_disk_stays_within_three_times_of_what_is_valid() {
    stays_within(Sizes { segment_bytes: [256 << 10, 32 << 20], ahead_bytes: 64 << 10 }, 0);
    stays_within(Sizes::default(), 10 << 20);
}

fn stays_within(sizes: Sizes, more: usize) {
    let disk = Simulated::default();
    let mut engine = Disk::over(Box::new(disk.clone()), sizes).unwrap();
    engine.load(&mut each(|_| Ok(()))).unwrap();
    let (keys, value, state) = (20_000u32, [7; 70], [8; 30]);
    let key = |n: u32| format!("series {n:08} with a long text of labels");
    let mut commit = 0;
    let mut live = 0;
    let mut write = |engine: &mut Disk, batch: &Batch| {
        commit += 1;
        commit_to(engine, commit, batch).unwrap();
    };
    let mut batch = Batch::default();
    for n in 0..keys {
        batch.put_with_state(Table::Series, key(n).as_bytes(), &value, &state);
        live += key(n).len() + value.len() + state.len();
    }
    write(&mut engine, &batch);
    let mut most = 0;
    for round in 0..2_000u32 {
        batch.clear();
        // A tenth of the keys is hot: it gets nine out of ten changes.
        for n in 0..100 {
            let spread = if n % 10 == 0 { keys } else { keys / 10 };
            let n = (round.wrapping_mul(97) + n).wrapping_mul(2_654_435_761) % spread;
            match n % 7 {
                0 => batch.put_with_state(Table::Series, key(n).as_bytes(), &value, &state),
                _ => batch.put_state(Table::Series, key(n).as_bytes(), &state),
            }
        }
        write(&mut engine, &batch);
        most = most.max(disk.bytes());
    }
    assert!(most < (3 * live + more) as u64, "{most} bytes for {live}, {sizes:?}");
    let usage = engine.usage();
    assert!(usage.live_bytes.abs_diff(live as u64) < live as u64 / 5, "{usage:?} {live}");
    assert_eq!(engine.index.len(), keys as usize);
    drop(engine);
    let mut engine = Disk::over(Box::new(disk), sizes).unwrap();
    let mut records = 0;
    engine
        .load(&mut each(|record| {
            assert_eq!((record.value, record.state), (&value[..], Some(&state[..])));
            records += 1;
            Ok(())
        }))
        .unwrap();
    assert_eq!(records, keys);
}
