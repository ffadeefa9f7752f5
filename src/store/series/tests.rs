//! Label texts in pieces, and texts that are shared.

use proptest::prelude::*;

use super::super::group::Groups;
use super::*;

fn series(family: &Arc<Family>, group: &str, labels: &str) -> SeriesRef {
    let group = Groups::default().key(group);
    let family = family.clone();
    SeriesRef::new(Birth { family, group, labels, created_ms: 0, state: State::Info })
}

#[test]
fn the_grouping_key_is_stored_once() {
    let family = Arc::new(Family::new("m", 0, Kind::Counter));
    let long = format!("a=\"{}\",job=\"j\"", "x".repeat(300));
    for (group, labels, own) in [
        ("job=\"j\"", "a=\"b\",job=\"j\",z=\"y\"", "a=\"b\",,z=\"y\""),
        ("job=\"j\"", "job=\"j\"", ""),
        ("a=\"ä\",job=\"j\"", "a=\"ä\",job=\"j\",z=\"ö\"", ",z=\"ö\""),
        ("", "a=\"b\"", "a=\"b\""),
        ("", "", ""),
        // Not there in one piece, not there at all, too far behind.
        ("a=\"b\",job=\"j\"", "a=\"b\",g=\"h\",job=\"j\"", "a=\"b\",g=\"h\",job=\"j\""),
        ("job=\"j\"", "a=\"b\"", "a=\"b\""),
        ("job=\"j\"", &*long, &*long),
    ] {
        let series = series(&family, group, labels);
        assert_eq!(series.labels(), labels);
        assert_eq!(std::str::from_utf8(&series.0.slice), Ok(own), "{group} in {labels}");
    }
}

#[test]
fn a_text_that_comes_again_is_stored_once() {
    let family = Arc::new(Family::new("m", 0, Kind::Counter));
    family.live.store(1_000, Relaxed);
    for (labels, is_shared) in [
        ("a=\"b\",instance=\"{}\",job=\"j\",z=\"some more text\"", true),
        ("instance=\"{}\",job=\"j\",z=\"of these there are two\"", true),
        ("instance=\"{}\",job=\"j\",z=\"1\"", false),
        ("instance=\"{}\",job=\"j\"", false),
    ] {
        for instance in ["one", "two", "three"] {
            let group = format!("instance=\"{instance}\",job=\"j\"");
            let labels = labels.replace("{}", instance);
            let series = series(&family, &group, &labels);
            assert_eq!(series.labels(), labels);
            assert!(series.is(&family, &labels) && !series.is(&family, "z=\"1\""));
            assert_eq!(series.flags.load(Relaxed) & SHARED != 0, is_shared, "{labels}");
            assert!(!is_shared || series.0.slice.len() == size_of::<u16>());
        }
    }
}

proptest! {
    /// Few letters, so that texts often begin alike.
    #[test]
    fn a_text_in_pieces_is_that_text(
        texts in prop::collection::vec(("[ab]{0,4}", "[ab]{0,4}", "[ab]{0,4}"), 2),
    ) {
        let family = Arc::new(Family::new("m", 0, Kind::Counter));
        let whole: Vec<String> = texts.iter().map(|(a, b, c)| format!("{a}{b}{c}")).collect();
        let both: Vec<SeriesRef> = texts
            .iter()
            .zip(&whole)
            .map(|((_, group, _), labels)| series(&family, group, labels))
            .collect();
        for (series, labels) in both.iter().zip(&whole) {
            let mut written = Vec::new();
            series.write_labels(&mut written);
            prop_assert_eq!(&written, labels.as_bytes());
            prop_assert_eq!(&series.labels(), labels);
        }
        prop_assert_eq!(both[0].order(&both[1]), whole[0].cmp(&whole[1]));
        prop_assert_eq!(both[0].is(&family, &whole[1]), whole[0] == whole[1]);
    }
}

#[test]
fn moments_keep_their_milliseconds() {
    for ms in [0, 1, -1, 65_535, 65_536, 1_764_000_000_123, (1 << 47) - 1, -1 << 47] {
        assert_eq!(Moment::new(ms).ms(), ms);
    }
    assert_eq!(Moment::new(i64::MAX).ms(), (1 << 47) - 1);
    assert_eq!(Moment::new(i64::MIN).ms(), -1 << 47);
}

#[test]
fn series_of_equal_bounds_share_a_list_and_unused_lists_go() {
    let family = Family::new("h", 0, Kind::Histogram);
    let used = family.layout(&[1.0, 2.0]);
    for bound in 0..1_000 {
        family.layout(&[f64::from(bound)]);
    }
    assert!(std::ptr::eq(&*used, &*family.layout(&[1.0, 2.0])));
    assert!(family.layouts.lock().shared.len() <= 17);
    assert_eq!(family.bounds_with(&[0.5]).len(), 1_001, "bounds count for the limit");
}
