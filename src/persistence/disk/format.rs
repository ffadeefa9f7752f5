//! The bytes of the files. All numbers are little-endian. Checksums are XXH3 (64 bits), seeded so that
//! bytes from another place or another store do not pass.
//!
//! ```text
//! FORMAT    "Tallygate store, format 2\n"
//! MARK      two slots, at 0 and 4096:
//!           commit:8  segment:8  end:8  checksum:8
//! <n>.log   "TALLYLG2"  store:8  segment:8  previous end:8  checksum:8     header
//!           length:8  changes  commit:8  oldest:8  records:8  checksum:8   frame, one per commit
//! ```
//!
//! What follows the last frame of a segment is ignored; mostly it is zeros, written ahead. `length` is
//! that of the changes (see [`change`](super::change)). `previous end` is where the segment before this
//! one ends; whatever follows there was never acknowledged. `oldest` is the first segment that is still
//! needed after this commit, and `records` the number of records then, so that nothing can be missing
//! unnoticed.
//!
//! Segments of format 1 begin with `TALLYLOG` and have `commit`, `oldest` and `records` before the
//! changes. They stay until upkeep removes them; new ones are of format 2.

use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

/// The format that this version writes, and the newest that it reads.
pub(super) const FORMAT: u32 = 2;
pub(super) const FORMAT_FILE: &str = "FORMAT";
pub(super) const MARK_FILE: &str = "MARK";
const FORMAT_TEXT: &str = "Tallygate store, format ";
/// By format. The first one also seeds the checksums that have no seed of their own.
const MAGIC: [u64; 2] = [u64::from_le_bytes(*b"TALLYLOG"), u64::from_le_bytes(*b"TALLYLG2")];
const SEED: u64 = MAGIC[0];

pub(super) const HEADER_BYTES: u64 = 40;
/// The size of a frame without changes.
pub(super) const FRAME_BYTES: usize = 40;
/// The part of it before the changes. In format 1 that was everything but the checksum.
pub(super) const FRAME_HEAD_BYTES: usize = 8;
const FRAME_HEAD_BYTES_1: usize = 32;
/// So far apart that no failing write of the disk damages both.
pub(super) const SLOTS: [u64; 2] = [0, 4096];
pub(super) const SLOT_BYTES: usize = 32;

pub(super) fn format_text() -> String {
    format!("{FORMAT_TEXT}{FORMAT}\n")
}

/// `None` if the text does not declare a format.
pub(super) fn read_format(text: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(text).ok()?;
    text.strip_prefix(FORMAT_TEXT)?.strip_suffix('\n')?.parse().ok()
}

pub(super) fn segment_name(number: u64) -> String {
    format!("{number:010}.log")
}

pub(super) fn segment_number(name: &str) -> Option<u64> {
    let number = name.strip_suffix(".log")?.parse().ok()?;
    (segment_name(number) == name).then_some(number)
}

fn words<const N: usize>(bytes: &[u8]) -> Option<[u64; N]> {
    let mut words = [0; N];
    for (at, word) in words.iter_mut().enumerate() {
        let bytes = bytes.get(at * 8..)?.first_chunk()?;
        *word = u64::from_le_bytes(*bytes);
    }
    Some(words)
}

/// How far acknowledged commits reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) commit: u64,
    pub(super) segment: u64,
    /// Bytes of that segment.
    pub(super) end: u64,
}

impl Mark {
    pub(super) fn bytes(&self) -> [u8; SLOT_BYTES] {
        let mut bytes = [0; SLOT_BYTES];
        let words = [self.commit, self.segment, self.end];
        for (at, word) in words.into_iter().enumerate() {
            bytes[at * 8..][..8].copy_from_slice(&word.to_le_bytes());
        }
        let sum = xxh3_64_with_seed(&bytes[..24], SEED);
        bytes[24..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The larger of the intact marks, and its slot.
    pub(super) fn read(file: &[u8]) -> Option<(Mark, usize)> {
        let mark = |slot: usize| {
            let file = file.get(SLOTS[slot] as usize..)?;
            let [commit, segment, end, sum] = words(file)?;
            let whole = sum == xxh3_64_with_seed(&file[..24], SEED);
            whole.then_some((Mark { commit, segment, end }, slot))
        };
        [0, 1].into_iter().filter_map(mark).max_by_key(|(mark, _)| mark.commit)
    }
}

/// The head of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Of this segment.
    pub(super) format: u32,
    /// A random number that all segments of a store share.
    pub(super) store: u64,
    pub(super) segment: u64,
    pub(super) previous_end: u64,
}

impl Header {
    /// In the present format.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [MAGIC[1], self.store, self.segment, self.previous_end] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        let sum = xxh3_64_with_seed(&bytes, SEED);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Header> {
        let [magic, store, segment, previous_end, sum] = words(bytes)?;
        let format = match MAGIC.iter().position(|known| *known == magic)? {
            0 => 1,
            _ => FORMAT,
        };
        let whole = sum == xxh3_64_with_seed(&bytes[..32], SEED);
        whole.then_some(Header { format, store, segment, previous_end })
    }

    /// The seed for the frame at this offset of the segment.
    fn seed(&self, offset: u64) -> u64 {
        self.store ^ self.segment.rotate_left(40) ^ offset
    }
}

/// What a frame says besides its changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tail {
    pub(super) commit: u64,
    pub(super) oldest: u64,
    pub(super) records: u64,
}

/// The checksum of a frame that is being written, piece by piece.
pub(super) struct FrameSum(Xxh3);

impl FrameSum {
    /// For the frame at this offset.
    pub(super) fn new(header: &Header, offset: u64) -> FrameSum {
        FrameSum(Xxh3::with_seed(header.seed(offset)))
    }

    /// Takes the bytes of the frame, piece by piece.
    pub(super) fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// What follows the changes: the tail, and the checksum of the whole frame.
    pub(super) fn end(mut self, tail: Tail) -> [u8; FRAME_BYTES - FRAME_HEAD_BYTES] {
        let mut bytes = [0; FRAME_BYTES - FRAME_HEAD_BYTES];
        for (at, word) in [tail.commit, tail.oldest, tail.records].into_iter().enumerate() {
            bytes[at * 8..][..8].copy_from_slice(&word.to_le_bytes());
        }
        self.0.update(&bytes[..24]);
        bytes[24..].copy_from_slice(&self.0.digest().to_le_bytes());
        bytes
    }
}

/// One intact frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'b> {
    pub(super) tail: Tail,
    pub(super) changes: &'b [u8],
    /// Where in the frame they begin.
    pub(super) changes_at: usize,
}

/// The size of the frame that begins with these bytes; `None` if there are too few to tell.
pub(super) fn frame_length(head: &[u8]) -> Option<u64> {
    let [length] = words(head)?;
    length.checked_add(FRAME_BYTES as u64)
}

/// The frame at the beginning of `bytes`, which are at `offset` of the segment. `None` if it is not intact.
pub(super) fn read_frame<'b>(bytes: &'b [u8], header: &Header, offset: u64) -> Option<Frame<'b>> {
    let length = usize::try_from(frame_length(bytes)?).ok()?;
    let (body, sum) = bytes.get(..length)?.split_last_chunk()?;
    if u64::from_le_bytes(*sum) != xxh3_64_with_seed(body, header.seed(offset)) {
        return None;
    }
    let (tail_at, changes_at) = match header.format {
        1 => (FRAME_HEAD_BYTES, FRAME_HEAD_BYTES_1),
        _ => (length - FRAME_BYTES + FRAME_HEAD_BYTES, FRAME_HEAD_BYTES),
    };
    let [commit, oldest, records] = words(body.get(tail_at..)?)?;
    let changes = body.get(changes_at..)?.get(..length - FRAME_BYTES)?;
    Some(Frame { tail: Tail { commit, oldest, records }, changes, changes_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_counts() {
        let header = Header { format: FORMAT, store: 7, segment: 3, previous_end: 99 };
        let tail = Tail { commit: 5, oldest: 2, records: 4 };
        let mut frame = 7_u64.to_le_bytes().to_vec();
        frame.extend_from_slice(b"cha");
        let mut sum = FrameSum::new(&header, 40);
        sum.update(&frame);
        sum.update(b"nges");
        frame.extend_from_slice(b"nges");
        frame.extend_from_slice(&sum.end(tail));
        assert_eq!(frame.len(), FRAME_BYTES + 7);
        let read = read_frame(&frame, &header, 40);
        assert_eq!(read, Some(Frame { tail, changes: b"changes", changes_at: FRAME_HEAD_BYTES }));
        assert_eq!(read_frame(&frame, &header, 41), None, "at another place");
        let other = Header { store: 8, ..header };
        assert_eq!(read_frame(&frame, &other, 40), None, "of another store");

        let flipped = |bytes: &[u8], bit: usize| {
            let mut bytes = bytes.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        };
        for bit in 0..frame.len() * 8 {
            assert_eq!(read_frame(&flipped(&frame, bit), &header, 40), None, "bit {bit}");
        }
        let bytes = header.bytes();
        assert_eq!(Header::read(&bytes), Some(header));
        assert!((0..bytes.len() * 8).all(|bit| Header::read(&flipped(&bytes, bit)).is_none()));
        for end in 0..frame.len() {
            assert_eq!(read_frame(&frame[..end], &header, 40), None, "{end}");
        }
    }

    #[test]
    fn the_larger_whole_slot_is_the_mark() {
        let marks =
            [Mark { commit: 4, segment: 1, end: 80 }, Mark { commit: 5, segment: 1, end: 90 }];
        let mut file = vec![0; SLOTS[1] as usize + SLOT_BYTES];
        assert_eq!(Mark::read(&file), None);
        for (mark, at) in marks.iter().zip(SLOTS) {
            file[at as usize..][..SLOT_BYTES].copy_from_slice(&mark.bytes());
        }
        assert_eq!(Mark::read(&file), Some((marks[1], 1)));
        file[SLOTS[1] as usize] ^= 1;
        assert_eq!(Mark::read(&file), Some((marks[0], 0)));
        assert_eq!(Mark::read(&file[..40]), Some((marks[0], 0)));
        file[0] ^= 1;
        assert_eq!(Mark::read(&file), None);
    }

    #[test]
    fn names_and_versions() {
        assert_eq!(segment_number(&segment_name(17)), Some(17));
        for name in ["17.log", "0000000017.log~", "+000000017.log", "LOCK"] {
            assert_eq!(segment_number(name), None, "{name}");
        }
        assert_eq!(read_format(format_text().as_bytes()), Some(FORMAT));
        assert_eq!(read_format(b"Tallygate store, format 12\n"), Some(12));
        for text in ["", "Tallygate store, format 1", "Tallygate store, format x\n"] {
            assert_eq!(read_format(text.as_bytes()), None, "{text}");
        }
    }
}
