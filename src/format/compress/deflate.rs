//! Deflating expositions, faster than a compressor that knows nothing about them.
//!
//! A line of an exposition is mostly the line before it with another label value and another number. So
//! three places are worth a look, and the first match is taken: the distance of the last copy (where
//! the rest of the line continues), the start of the line before (when a number had a different
//! length), and the last place where the same few bytes occurred (for other names). The codes are the
//! fixed ones of the format (RFC 1951, 3.2.6), so nothing has to be counted first. Any input works;
//! text without lines just shrinks less.

/// The largest distance of a copy.
const WINDOW: usize = 32 << 10;
/// Shorter copies take as many bits as the bytes themselves.
const COPY_MIN: usize = 4;
const COPY_MAX: usize = 258;
const HASH_BITS: u32 = 12;
/// Longer texts are split, because positions have 32 bits.
const PART_BYTES: usize = 1 << 30;

/// The last position, plus one, of bytes with this hash; 0 for none.
type Places = [u32; 1 << HASH_BITS];

/// Reuses its memory for the next text; nothing else carries over.
#[derive(Debug)]
pub(super) struct Deflater {
    places: Box<Places>,
}

impl Deflater {
    pub(super) fn new() -> Deflater {
        Deflater { places: Box::new([0; 1 << HASH_BITS]) }
    }

    /// Appends blocks without references to anything before them. The last one ends on a byte boundary
    /// and is not marked as the last of the stream.
    pub(super) fn deflate(&mut self, text: &[u8], out: &mut Vec<u8>) {
        let mut bits = Bits { out, held: 0, count: 0 };
        for part in text.chunks(PART_BYTES) {
            bits.put(0b010, 3);
            self.part(part, &mut bits);
            bits.put(0, 7);
        }
        // An empty stored block, which aligns the stream to a byte.
        bits.put(0b000, 3);
        bits.align();
        out.extend_from_slice(&[0, 0, 0xff, 0xff]);
    }

    fn part(&mut self, text: &[u8], bits: &mut Bits<'_>) {
        self.places.fill(0);
        let (mut at, mut distance) = (0, 0);
        while let Some(next) = word(text, at) {
            let Some(from) = self.earlier(text, at, next, distance) else {
                bits.literal(next as u8);
                at += 1;
                continue;
            };
            distance = at - from;
            let length = COPY_MIN + common(&text[from + COPY_MIN..], &text[at + COPY_MIN..]);
            bits.copies(length, distance);
            at += length;
        }
        for &byte in text.get(at..).unwrap_or_default() {
            bits.literal(byte);
        }
    }

    /// An earlier position from which at least [`COPY_MIN`] bytes can be copied, if there is one worth
    /// taking.
    #[inline]
    fn earlier(&mut self, text: &[u8], at: usize, next: u64, distance: usize) -> Option<usize> {
        let is_same = |from: usize| word(text, from).is_some_and(|w| w as u32 == next as u32);
        if distance > 0 && is_same(at - distance) {
            return Some(at - distance);
        }
        let place = std::mem::replace(&mut self.places[hash(next)], at as u32 + 1);
        let start = at.saturating_sub(WINDOW);
        if next as u8 == b'\n'
            && let Some(back) = memchr::memrchr(b'\n', &text[start..at])
            && is_same(start + back)
        {
            return Some(start + back);
        }
        let place = (place as usize).checked_sub(1)?;
        (place >= start && is_same(place)).then_some(place)
    }
}

/// The next 8 bytes; `None` if there are fewer.
#[inline]
fn word(text: &[u8], at: usize) -> Option<u64> {
    let (bytes, _) = text.get(at..)?.split_first_chunk()?;
    Some(u64::from_le_bytes(*bytes))
}

/// A hash of the first 5 bytes.
#[inline]
fn hash(word: u64) -> usize {
    ((word << 24).wrapping_mul(0x9e37_79b1_85eb_ca87) >> (64 - HASH_BITS)) as usize
}

/// The length of the common prefix.
#[inline]
fn common(a: &[u8], b: &[u8]) -> usize {
    const WIDE: usize = 32;
    let length = a.len().min(b.len());
    let (a, b) = (&a[..length], &b[..length]);
    let mut same = 0;
    // Compares all 32 bytes in a few instructions.
    while same + WIDE <= length && a[same..same + WIDE] == b[same..same + WIDE] {
        same += WIDE;
    }
    while let (Some(a), Some(b)) = (word(a, same), word(b, same)) {
        if a != b {
            return same + ((a ^ b).trailing_zeros() / 8) as usize;
        }
        same += 8;
    }
    same + a[same..].iter().zip(&b[same..]).take_while(|(a, b)| a == b).count()
}

/// The bits of a code, the first one lowest, and their number.
type Code = (u32, u8);

struct Codes {
    literals: [Code; 256],
    /// By length minus 3, with extra bits.
    lengths: [Code; 256],
}

static CODES: Codes = Codes::fixed();

impl Codes {
    /// RFC 1951, 3.2.5 and 3.2.6.
    const fn fixed() -> Codes {
        let mut codes = Codes { literals: [(0, 0); 256], lengths: [(0, 0); 256] };
        let mut byte = 0;
        while byte < 256 {
            codes.literals[byte as usize] = match byte {
                0..144 => (reversed(0b0011_0000 + byte, 8), 8),
                _ => (reversed(0b1_1001_0000 + byte - 144, 9), 9),
            };
            byte += 1;
        }
        let (mut symbol, mut at) = (257, 0);
        while symbol < 285 {
            let extra = if symbol < 265 { 0 } else { (symbol - 261) / 4 };
            let (code, bits) = match symbol {
                257..280 => (reversed(symbol - 256, 7), 7),
                _ => (reversed(0b1100_0000 + symbol - 280, 8), 8),
            };
            let mut nth = 0;
            while nth < 1 << extra {
                codes.lengths[at] = (code | nth << bits, bits + extra as u8);
                (nth, at) = (nth + 1, at + 1);
            }
            symbol += 1;
        }
        // The greatest length has a code of its own, which replaces the last value of the code before.
        codes.lengths[255] = (reversed(0b1100_0101, 8), 8);
        codes
    }
}

/// Two codes for each power of two, followed by the lower bits (RFC 1951, 3.2.5).
#[inline]
fn distance_code(distance: usize) -> Code {
    let back = distance as u32 - 1;
    let (code, extra) = match back {
        0..4 => (back, 0),
        _ => {
            let top = back.ilog2();
            (2 * top + (back >> (top - 1) & 1), top - 1)
        }
    };
    let rest = back & ((1 << extra) - 1);
    (reversed(code, 5) | rest << 5, 5 + extra as u8)
}

/// Codes are written starting with the highest bit, everything else with the lowest.
const fn reversed(code: u32, bits: u32) -> u32 {
    code.reverse_bits() >> (u32::BITS - bits)
}

/// Collects bits into bytes.
struct Bits<'o> {
    out: &'o mut Vec<u8>,
    held: u64,
    /// The number of bits in `held`; below 32.
    count: u8,
}

impl Bits<'_> {
    /// Appends at most 32 bits.
    #[inline]
    fn put(&mut self, bits: u32, count: u8) {
        self.held |= u64::from(bits) << self.count;
        self.count += count;
        if self.count >= 32 {
            self.out.extend_from_slice(&(self.held as u32).to_le_bytes());
            self.held >>= 32;
            self.count -= 32;
        }
    }

    #[inline]
    fn literal(&mut self, byte: u8) {
        let (code, bits) = CODES.literals[usize::from(byte)];
        self.put(code, bits);
    }

    /// Copies at least [`COPY_MIN`] bytes.
    #[inline]
    fn copies(&mut self, mut length: usize, distance: usize) {
        let distance = distance_code(distance);
        while length > COPY_MAX {
            // Leave enough for one more copy.
            let now = COPY_MAX.min(length - COPY_MIN);
            self.copy(now, distance);
            length -= now;
        }
        self.copy(length, distance);
    }

    #[inline]
    fn copy(&mut self, length: usize, distance: Code) {
        let (code, bits) = CODES.lengths[(length - 3) % 256];
        // At most 13 and 18 bits.
        self.put(code | distance.0 << bits, bits + distance.1);
    }

    /// Pads to a byte boundary.
    fn align(&mut self) {
        let bytes = usize::from(self.count.div_ceil(8));
        self.out.extend_from_slice(&self.held.to_le_bytes()[..bytes]);
        (self.held, self.count) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    /// The text deflated here and inflated by another library, and its compressed length.
    fn there_and_back(deflater: &mut Deflater, text: &[u8]) -> (Vec<u8>, usize) {
        let mut out = b"before".to_vec();
        deflater.deflate(text, &mut out);
        let length = out.len() - 6;
        // The end of the stream.
        out.extend_from_slice(&[3, 0]);
        let (mut decoder, mut back) = (flate2::bufread::DeflateDecoder::new(&out[6..]), Vec::new());
        decoder.read_to_end(&mut back).unwrap();
        assert!(decoder.into_inner().is_empty());
        (back, length)
    }

    #[track_caller]
    fn check(text: &[u8]) {
        // Not `assert_eq`, which would print all of it.
        assert!(there_and_back(&mut Deflater::new(), text).0 == text, "{} bytes", text.len());
    }

    #[test]
    fn every_byte_and_every_length() {
        check(b"");
        let all: Vec<u8> = (0..=255).collect();
        for length in 0..all.len() {
            check(&all[length..]);
        }
        // A copy of every length, and copies that overlap their source.
        let line = |nth: usize| [&all[..], &all[..]].concat().into_iter().cycle().skip(nth);
        for length in 0..600 {
            let copied: Vec<u8> = line(7).take(600).chain(line(7).take(length)).collect();
            check(&copied);
            check(&vec![b'x'; length]);
        }
    }

    /// Repetitions are found over the whole window, and written as copies.
    #[test]
    fn every_distance_up_to_the_window() {
        let mut deflater = Deflater::new();
        for distance in (8..=15).flat_map(|power| [-1, 0, 1].map(|by| (1 << power) + by)) {
            let distance = distance as usize;
            let text = [b"\nrepeated 1", &*vec![b'b'; distance - 11], b"\nrepeated 1"].concat();
            let (back, length) = there_and_back(&mut deflater, &text);
            assert!(back == text, "{distance}");
            let before = there_and_back(&mut deflater, &text[..distance]).1;
            assert_eq!(length < before + 6, distance <= WINDOW, "{distance}: {before}, {length}");
        }
    }

    #[test]
    fn lines_shrink_to_little() {
        let mut text = String::new();
        for at in 0..5_000 {
            let value = at * 7919 % 100_003;
            text += &format!("requests_total{{job=\"orders\",worker=\"w{at:05}\"}} {value}\n");
        }
        let (back, length) = there_and_back(&mut Deflater::new(), text.as_bytes());
        assert!(back == text.as_bytes());
        assert!(length * 5 < text.len(), "{length} of {}", text.len());
    }

    #[test]
    fn texts_do_not_know_of_each_other() {
        let mut deflater = Deflater::new();
        for text in [&b"a 1\nb 2\na 1\nb 2\n"[..], b"b 2\na 1\nb 2\n", b"\n\n\n\n\n\n\n\n\n\n"] {
            let alone = there_and_back(&mut Deflater::new(), text);
            assert_eq!(there_and_back(&mut deflater, text), alone);
        }
    }

    proptest! {
        #[test]
        fn whatever_it_is_comes_back(
            pieces in prop::collection::vec((0..6usize, 0..40usize, any::<u32>()), 0..200),
            bytes in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut text = bytes.clone();
            for (what, length, number) in pieces {
                match what {
                    0 => text.extend_from_slice(format!("{{a=\"{number}\"}} ").as_bytes()),
                    1 => text.push(b'\n'),
                    2 => text.extend(std::iter::repeat_n(b'z', length * 20)),
                    3 => text.extend_from_slice(&bytes[..length.min(bytes.len())]),
                    4 => text.extend_from_slice(b"\nrequests_total{job=\"orders\",le=\""),
                    _ => text.extend_from_slice(&number.to_le_bytes()),
                }
            }
            check(&text);
        }
    }
}
