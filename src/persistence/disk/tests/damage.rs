//! Files that are damaged, missing or from another time are detected and reported.

use std::collections::BTreeMap;

use super::*;

/// A small store with several segments, and what it holds.
fn small() -> (BTreeMap<String, Vec<u8>>, Records) {
    let disk = Simulated::default();
    assert_eq!(run(&disk, 1..=30), 30);
    let (mut engine, records, _) = open(&disk).unwrap();
    engine.close().unwrap();
    let contents = disk.contents();
    assert!(contents.len() >= 4, "{:?}", contents.keys());
    (contents, records)
}

/// Whether the store reports what is wrong, or still has the same content.
fn refused_or_intact(contents: &BTreeMap<String, Vec<u8>>, records: &Records) -> bool {
    match open(&Simulated::with(contents)) {
        Ok((_, found, _)) => {
            assert_eq!(found, *records);
            false
        }
        Err(EngineError::Damage { path, .. } | EngineError::Newer { path, .. }) => {
            assert!(path.starts_with("simulated/"));
            true
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn every_flipped_byte_is_found_or_does_not_matter() {
    let (contents, records) = small();
    assert!(!refused_or_intact(&contents, &records));
    for (name, content) in &contents {
        let mut refused = 0;
        for at in 0..content.len() {
            let mut damaged = contents.clone();
            damaged.get_mut(name).unwrap()[at] ^= 1 << (at % 8);
            refused += usize::from(refused_or_intact(&damaged, &records));
        }
        let expected = match name.as_str() {
            // The other slot of the mark is enough.
            MARK_FILE => 0,
            _ => content.len(),
        };
        assert_eq!(refused, expected, "{name}");
    }
}

#[test]
fn whatever_is_missing_or_cut_off_is_missed() {
    let (contents, records) = small();
    for (name, content) in &contents {
        let mut damaged = contents.clone();
        damaged.remove(name);
        assert!(refused_or_intact(&damaged, &records), "{name} is missing");
        for end in 0..content.len() {
            let mut damaged = contents.clone();
            damaged.get_mut(name).unwrap().truncate(end);
            let refused = refused_or_intact(&damaged, &records);
            // The first slot of the mark may be the last one written.
            assert!(refused || name == MARK_FILE, "{name} is cut off at {end}");
        }
    }
}

#[test]
fn an_older_copy_of_a_file_is_noticed() {
    let disk = Simulated::default();
    run(&disk, 1..=20);
    let old = disk.contents();
    run(&disk, 21..=40);
    let (_, records, _) = open(&disk).unwrap();
    let new = disk.contents();
    for (name, content) in old.iter().filter(|(name, _)| name.as_str() != MARK_FILE) {
        let mut mixed = new.clone();
        if mixed.insert(name.clone(), content.clone()).is_some_and(|new| new != *content) {
            assert!(refused_or_intact(&mixed, &records), "{name}");
        }
    }
    let mut mixed = old;
    mixed.insert(MARK_FILE.to_owned(), new[MARK_FILE].clone());
    assert!(refused_or_intact(&mixed, &records), "all but the mark are old");
}

#[test]
fn a_newer_format_is_left_alone() {
    let (mut contents, _) = small();
    contents.insert(FORMAT_FILE.to_owned(), b"Tallygate store, format 3\n".to_vec());
    let disk = Simulated::with(&contents);
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, EngineError::Newer { found: 3, known: FORMAT, .. }), "{error}");
    assert_eq!(disk.contents(), contents, "nothing was changed");
}

#[test]
fn what_is_refused_is_not_changed() {
    let (mut damaged, _) = small();
    let first = damaged.keys().next().unwrap().clone();
    damaged.get_mut(&first).unwrap()[70] ^= 1;
    let disk = Simulated::with(&damaged);
    open(&disk).unwrap_err();
    assert_eq!(disk.contents(), damaged);
}

/// Files are read again to free their space. Memory has everything, so nothing is lost by a temporary
/// fault.
#[test]
fn damage_that_is_met_while_space_is_freed_is_told_and_passes() {
    let disk = Simulated::default();
    let (mut engine, _, _) = open(&disk).unwrap();
    let mut refused = 0;
    for commit in 1..=COMMITS {
        let oldest = engine.segments.first().map_or(1, |oldest| oldest.number);
        let name = format::segment_name(oldest);
        let at = HEADER_BYTES as usize + 10;
        disk.flip(&name, at);
        let written = commit_to(&mut engine, commit, batch(commit));
        disk.flip(&name, at);
        if let Err(error) = written {
            assert!(matches!(error, EngineError::Damage { .. }), "{error}");
            assert!(error.to_string().contains(&name), "{error}");
            refused += 1;
            commit_to(&mut engine, commit, batch(commit)).unwrap();
        }
    }
    assert!(refused > 10, "{refused}");
    assert_eq!(open(&disk).unwrap().1, *records_after(COMMITS));
}
