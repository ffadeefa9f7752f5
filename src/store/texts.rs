//! Label texts that several series of a family share.
//!
//! Many instances push the same series, each under its own grouping key. Without the key, their label
//! texts are the same, and need not be stored with each series. When a text comes for the first time,
//! nobody knows whether it will come again. So a family stores as many texts as have come again, and a
//! few more: where all of them differ, it stores just a few.
//!
//! Texts have numbers, which are smaller than pointers, and stay as long as the family: readers take no
//! lock, so a filled place never changes. Where label values come and go, most texts will end up
//! belonging to no series. So their number and size are limited, and series that come later keep their
//! own text.

use std::cmp::Ordering;
use std::hash::BuildHasher;
use std::sync::OnceLock;

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use parking_lot::Mutex;

/// How many texts are stored before any has come again.
const AHEAD: usize = 16;

/// Each part is twice as long as the one before.
const PARTS: usize = 9;
const FIRST_PART: usize = 8;
/// Beyond these limits, a family shares no further texts.
const BYTES_MAX: usize = 1 << 20;
const TEXTS_MAX: usize = FIRST_PART * ((1 << PARTS) - 1);

/// Places for texts, filled one after the other.
type Part = Box<[OnceLock<Box<[u8]>>]>;

#[derive(Debug, Default)]
pub(super) struct Texts {
    parts: [OnceLock<Part>; PARTS],
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    numbers: HashTable<u16>,
    hasher: RandomState,
    came_again: usize,
    bytes: usize,
}

/// The part a number is in, and its place there.
fn place(number: u16) -> (usize, usize) {
    let at = usize::from(number) + FIRST_PART;
    let part = (at / FIRST_PART).ilog2() as usize;
    (part, at - (FIRST_PART << part))
}

impl Texts {
    /// The text with this number; empty if there is none.
    #[inline]
    pub(super) fn get(&self, number: u16) -> &[u8] {
        let (part, at) = place(number);
        let text =
            self.parts.get(part).and_then(OnceLock::get).and_then(|part| part.get(at)?.get());
        text.map_or(&[], |text| text)
    }

    /// The number of this text; `None` if it is not shared.
    pub(super) fn share(&self, text: &[u8]) -> Option<u16> {
        let Known { numbers, hasher, came_again, bytes } = &mut *self.known.lock();
        let hash = hasher.hash_one(text);
        if let Some(number) = numbers.find(hash, |&number| self.get(number) == text) {
            *came_again += 1;
            return Some(*number);
        }
        let too_many = numbers.len() >= TEXTS_MAX.min(*came_again + AHEAD);
        if too_many || *bytes + text.len() > BYTES_MAX {
            return None;
        }
        let number = numbers.len() as u16;
        let (nth, at) = place(number);
        let empty = || (0..FIRST_PART << nth).map(|_| OnceLock::new()).collect();
        let part = self.parts.get(nth)?.get_or_init(empty);
        part.get(at)?.set(text.into()).ok()?;
        *bytes += text.len();
        numbers.insert_unique(hash, number, |&number| hasher.hash_one(self.get(number)));
        Some(number)
    }
}

/// Compares texts that are in pieces.
pub(super) fn compare(mut a: [&[u8]; 3], mut b: [&[u8]; 3]) -> Ordering {
    let (mut a, mut b) = (a.iter_mut(), b.iter_mut());
    let (mut left, mut right) = (a.next(), b.next());
    loop {
        match (&mut left, &mut right) {
            (Some([]), _) => left = a.next(),
            (_, Some([])) => right = b.next(),
            (Some(one), Some(other)) => {
                let shared = one.len().min(other.len());
                match one[..shared].cmp(&other[..shared]) {
                    Ordering::Equal => (**one, **other) = (&one[shared..], &other[shared..]),
                    different => return different,
                }
            }
            (one, other) => return one.is_some().cmp(&other.is_some()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_place_of_its_own() {
        let mut next = (0, 0);
        for number in 0..TEXTS_MAX as u16 {
            assert_eq!(place(number), next);
            next.1 += 1;
            if next.1 == FIRST_PART << next.0 {
                next = (next.0 + 1, 0);
            }
        }
        assert_eq!(next, (PARTS, 0));
    }

    #[test]
    fn what_comes_again_is_shared() {
        let texts = Texts::default();
        let text = |at: usize| format!("code=\"{at}\"").into_bytes();
        for round in 0..10 {
            for at in 0..1_000 {
                if let Some(number) = texts.share(&text(at)) {
                    assert_eq!(texts.get(number), text(at), "{round}");
                }
            }
        }
        let numbers: Vec<_> = (0..1_000).map(|at| texts.share(&text(at)).unwrap()).collect();
        assert!((0..1_000).all(|at| texts.get(numbers[at]) == text(at)));
        assert!((0..1_000).all(|at| texts.share(&text(at)) == Some(numbers[at])));
    }

    #[test]
    fn what_does_not_is_not() {
        let texts = Texts::default();
        let shared = (0..10_000).filter(|at: &usize| texts.share(&at.to_le_bytes()).is_some());
        assert_eq!(shared.count(), AHEAD);
    }

    #[test]
    fn there_is_an_end_to_it() {
        let texts = Texts::default();
        texts.known.lock().came_again = usize::MAX - AHEAD;
        let shared = (0..10_000).filter(|at: &usize| texts.share(&at.to_le_bytes()).is_some());
        assert_eq!(shared.count(), TEXTS_MAX);
        assert_eq!(texts.get(u16::MAX), b"");

        let texts = Texts::default();
        texts.known.lock().came_again = TEXTS_MAX;
        let text = |at: usize| [&at.to_le_bytes()[..], &[7; 9_992]].concat();
        let shared: Vec<usize> =
            (0..1_000).filter(|&at| texts.share(&text(at)).is_some()).collect();
        assert_eq!(shared.len(), BYTES_MAX / 10_000);
        assert!(texts.share(b"a short one").is_some(), "where there is room");
    }
}
