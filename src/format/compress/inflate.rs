//! Decompresses small deflate streams (RFC 1951). Bodies of pushes have some hundred bytes, and a
//! library that is made for long streams takes most of its time to build tables for them. These
//! tables are smaller, and quick to make; long codes, which are rare, are searched for bit by bit.
//!
//! It is a shortcut: where it is not sure of a stream, the library decides.

/// Literals, the end of a block, and lengths of copies.
const LITERALS: usize = 288;
const DISTANCES: usize = 32;
/// No code has more bits.
const CODE_BITS: usize = 15;
/// The most that one symbol takes with what follows it: a length and a distance with extra bits.
const SYMBOL_BITS: u32 = 48;
const END_OF_BLOCK: usize = 256;

const LENGTH_BASE: [u16; 29] = [
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131,
    163, 195, 227, 258,
];
const LENGTH_EXTRA: [u8; 29] =
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const DISTANCE_BASE: [u16; 30] = [
    1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537,
    2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577,
];
const DISTANCE_EXTRA: [u8; 30] = [
    0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13,
    13,
];
/// The order in which a block gives the lengths of the codes for code lengths.
const LENGTHS_ORDER: [usize; 19] =
    [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// Puts what the stream at the beginning of `body` holds at the beginning of `out`. How many bytes
/// of both are used; `None` if the stream is damaged, cut off or unusual, or holds more.
pub(super) fn inflate(body: &[u8], out: &mut [u8]) -> Option<(usize, usize)> {
    let mut written = 0;
    let mut bits = Bits { body, at: 0, bits: 0, count: 0 };
    loop {
        bits.refill();
        let last = bits.take(1)?;
        match bits.take(2)? {
            0 => written = bits.stored(out, written)?,
            1 => {
                let mut lengths = [8; LITERALS];
                lengths[144..256].fill(9);
                lengths[256..280].fill(7);
                let mut codes = Codes::default();
                codes.literals.set(&lengths)?;
                codes.distances.set(&[5; DISTANCES])?;
                written = bits.block(&codes, out, written)?;
            }
            2 => {
                let codes = bits.codes()?;
                written = bits.block(&codes, out, written)?;
            }
            _ => return None,
        }
        if last == 1 {
            // Whole bytes that were not used.
            return Some((bits.at - bits.count as usize / 8, written));
        }
    }
}

/// The codes of a block.
#[derive(Default)]
struct Codes {
    literals: Code<512, LITERALS>,
    distances: Code<128, DISTANCES>,
}

/// A Huffman code. `TABLE`, a power of two, tells how many bits at most are looked up at once.
struct Code<const TABLE: usize, const SYMBOLS: usize> {
    /// By the next bits: the symbol times 16, and how many bits its code has; 0 if that is more.
    table: [u16; TABLE],
    /// Symbols in the order of their codes.
    sorted: [u16; SYMBOLS],
    /// How many codes there are of each length.
    counts: [u16; CODE_BITS + 1],
}

impl<const TABLE: usize, const SYMBOLS: usize> Default for Code<TABLE, SYMBOLS> {
    fn default() -> Self {
        Code { table: [0; TABLE], sorted: [0; SYMBOLS], counts: [0; CODE_BITS + 1] }
    }
}

impl<const TABLE: usize, const SYMBOLS: usize> Code<TABLE, SYMBOLS> {
    /// By the lengths of the codes, 0 for a symbol that has none; to be done once. `None` unless every
    /// sequence of bits means something.
    fn set(&mut self, lengths: &[u8]) -> Option<()> {
        let code = self;
        for &length in lengths {
            code.counts[usize::from(length & 15)] += 1;
        }
        code.counts[0] = 0;
        let (mut free, mut first, mut firsts) = (1_usize, 0, [0; CODE_BITS + 1]);
        for (count, start) in code.counts.iter().zip(&mut firsts).skip(1) {
            free = (free << 1).checked_sub(usize::from(*count))?;
            *start = first;
            first += usize::from(*count);
        }
        if free != 0 {
            return None;
        }
        for (symbol, &length) in lengths.iter().enumerate() {
            if length > 0 {
                let at = &mut firsts[usize::from(length & 15)];
                *code.sorted.get_mut(*at)? = symbol as u16;
                *at += 1;
            }
        }
        code.fill();
        Some(())
    }

    /// The table for codes of one bit, and from each table that for one bit more.
    fn fill(&mut self) {
        let mut symbols = self.sorted.iter();
        // Codes stand in the stream with their first bit lowest, so they are counted up from there.
        let mut reversed = 0_usize;
        let mut size = 2;
        for (length, &count) in self.counts.iter().enumerate().skip(1) {
            for &symbol in symbols.by_ref().take(usize::from(count)) {
                self.table[reversed & (size - 1)] = symbol << 4 | length as u16;
                let ones = ((size - 1) ^ reversed) as u32;
                if ones == 0 {
                    break; // That was the last code.
                }
                let bit = 1 << (31 - ones.leading_zeros());
                reversed = reversed & (bit - 1) | bit;
            }
            if size == TABLE {
                return;
            }
            self.table.copy_within(..size, size);
            size *= 2;
        }
    }

    /// A code with more bits than the table has: compared with the last code of each length.
    #[cold]
    fn search(&self, bits: u64) -> Option<(usize, u32)> {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for (length, &count) in self.counts.iter().enumerate().skip(1) {
            let count = usize::from(count);
            code = code << 1 | (bits >> (length - 1) & 1) as usize;
            first <<= 1;
            if code < first + count {
                let symbol = *self.sorted.get(index + code - first)?;
                return Some((symbol.into(), length as u32));
            }
            index += count;
            first += count;
        }
        None
    }
}

/// The bits of a stream, the lowest of each byte first.
#[derive(Clone, Copy)]
struct Bits<'b> {
    body: &'b [u8],
    /// The next byte that is not in `bits`.
    at: usize,
    bits: u64,
    /// How many of them there are; what is above them is no part of it.
    count: u32,
}

impl Bits<'_> {
    /// Makes it 56 bits at least, or all that there are.
    #[inline]
    fn refill(&mut self) {
        if let Some(next) = self.body.get(self.at..self.at + 8).and_then(<[u8]>::first_chunk) {
            self.bits |= u64::from_le_bytes(*next) << self.count;
            let bytes = (63 - self.count) / 8;
            self.at += bytes as usize;
            self.count += bytes * 8;
            return;
        }
        while self.count <= 55
            && let Some(&byte) = self.body.get(self.at)
        {
            self.bits |= u64::from(byte) << self.count;
            self.at += 1;
            self.count += 8;
        }
    }

    /// So many of those that are there.
    #[inline]
    fn take(&mut self, count: u32) -> Option<usize> {
        self.count = self.count.checked_sub(count)?;
        let taken = self.bits & ((1 << count) - 1);
        self.bits >>= count;
        Some(taken as usize)
    }

    #[inline]
    fn symbol<const TABLE: usize, const SYMBOLS: usize>(
        &mut self,
        code: &Code<TABLE, SYMBOLS>,
    ) -> Option<usize> {
        let entry = code.table[self.bits as usize % TABLE];
        let (symbol, length) = match entry {
            0 => code.search(self.bits)?,
            _ => (usize::from(entry >> 4), u32::from(entry & 15)),
        };
        self.count = self.count.checked_sub(length)?;
        self.bits >>= length;
        Some(symbol)
    }

    /// A block as it is.
    fn stored(&mut self, out: &mut [u8], written: usize) -> Option<usize> {
        self.take(self.count % 8)?;
        let at = self.at - self.count as usize / 8;
        let (head, rest) = self.body.get(at..)?.split_first_chunk::<4>()?;
        let length = u16::from_le_bytes([head[0], head[1]]);
        if length != !u16::from_le_bytes([head[2], head[3]]) {
            return None;
        }
        let stored = rest.get(..length.into())?;
        let end = written + stored.len();
        out.get_mut(written..end)?.copy_from_slice(stored);
        *self = Bits { body: self.body, at: at + 4 + stored.len(), bits: 0, count: 0 };
        Some(end)
    }

    /// The codes of a block that has its own.
    fn codes(&mut self) -> Option<Codes> {
        let literals = self.take(5)? + 257;
        let distances = self.take(5)? + 1;
        let given = self.take(4)? + 4;
        if literals > 286 || distances > 30 {
            return None;
        }
        let mut lengths = [0; 19];
        for &symbol in &LENGTHS_ORDER[..given] {
            if self.count < 3 {
                self.refill();
            }
            lengths[symbol] = self.take(3)? as u8;
        }
        let mut code = Code::<128, 19>::default();
        code.set(&lengths)?;

        let mut lengths = [0_u8; LITERALS + DISTANCES];
        let (mut at, all) = (0, literals + distances);
        while at < all {
            if self.count < SYMBOL_BITS {
                self.refill();
            }
            let symbol = self.symbol(&code)?;
            let (length, times) = match symbol {
                16 => (*lengths.get(at.checked_sub(1)?)?, 3 + self.take(2)?),
                17 => (0, 3 + self.take(3)?),
                18 => (0, 11 + self.take(7)?),
                length => (length as u8, 1),
            };
            let end = at + times;
            if end > all {
                return None;
            }
            lengths[at..end].fill(length);
            at = end;
        }
        if lengths[END_OF_BLOCK] == 0 {
            return None;
        }
        let mut codes = Codes::default();
        codes.literals.set(&lengths[..literals])?;
        codes.distances.set(&lengths[literals..all])?;
        Some(codes)
    }

    /// A compressed block, to its end.
    fn block(&mut self, codes: &Codes, out: &mut [u8], mut written: usize) -> Option<usize> {
        let mut bits = *self;
        loop {
            if bits.count < SYMBOL_BITS {
                bits.refill();
            }
            let symbol = bits.symbol(&codes.literals)?;
            if symbol < END_OF_BLOCK {
                *out.get_mut(written)? = symbol as u8;
                written += 1;
                continue;
            }
            let Some(length) = symbol.checked_sub(END_OF_BLOCK + 1) else {
                *self = bits;
                return Some(written);
            };
            let extra = bits.take((*LENGTH_EXTRA.get(length)?).into())?;
            let length = usize::from(LENGTH_BASE[length]) + extra;
            let distance = bits.symbol(&codes.distances)?;
            let extra = bits.take((*DISTANCE_EXTRA.get(distance)?).into())?;
            let distance = usize::from(DISTANCE_BASE[distance]) + extra;
            let from = written.checked_sub(distance)?;
            let end = written + length;
            if end > out.len() {
                return None;
            }
            copy(out, from, written, end);
            written = end;
        }
    }
}

/// Copies what begins at `from` to `to..end`, which may be a part of it. Eight bytes at a time: what
/// is written beyond the end is written again.
#[inline]
fn copy(out: &mut [u8], mut from: usize, mut to: usize, end: usize) {
    const STEP: usize = 8;
    if to - from >= STEP && end + STEP <= out.len() {
        while to < end {
            let mut piece = [0; STEP];
            piece.copy_from_slice(&out[from..from + STEP]);
            out[to..to + STEP].copy_from_slice(&piece);
            (from, to) = (from + STEP, to + STEP);
        }
        return;
    }
    for (from, to) in (from..).zip(to..end) {
        out[to] = out[from];
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::DeflateEncoder;
    use flate2::{Decompress, FlushDecompress, Status};
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 1 << 16;

    fn deflate(data: &[u8], level: u32) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), flate2::Compression::new(level));
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    /// As the library has it: the content, and how many bytes it takes.
    fn by_library(body: &[u8]) -> Option<(Vec<u8>, usize)> {
        let mut inflate = Decompress::new(false);
        let mut out = Vec::with_capacity(MAX + 1);
        let status = inflate.decompress_vec(body, &mut out, FlushDecompress::None).ok()?;
        let whole = status == Status::StreamEnd && out.len() <= MAX;
        whole.then_some((out, inflate.total_in() as usize))
    }

    fn ours(body: &[u8]) -> Option<(Vec<u8>, usize)> {
        let mut out = vec![0xa5; MAX];
        let (taken, written) = inflate(body, &mut out)?;
        out.truncate(written);
        Some((out, taken))
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        let line = ("[a-f_]{1,8}", 0_u32..100_000);
        let text = prop::collection::vec(line, 0..120).prop_map(|lines| {
            let line = |(name, value)| format!("shop_{name}_total{{path=\"/{name}\"}} {value}\n");
            lines.into_iter().map(line).collect::<String>().into_bytes()
        });
        prop_oneof![text, prop::collection::vec(any::<u8>(), 0..3000)]
    }

    #[test]
    fn texts_of_pushes_are_read() {
        let text: String =
            (0..40).map(|at| format!("shop_requests_total{{a=\"{at}\"}} 17\n")).collect();
        for level in [0, 1, 6, 9] {
            let body = deflate(text.as_bytes(), level);
            assert_eq!(ours(&body), Some((text.clone().into_bytes(), body.len())), "{level}");
        }
        // Runs, whose copies overlap themselves, and a fixed code.
        for data in
            [&b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"[..], b"abcabcabcabcabcabc", b"", b"x"]
        {
            let body = deflate(data, 6);
            assert_eq!(ours(&body), Some((data.to_vec(), body.len())));
        }
    }

    #[test]
    fn what_is_more_than_allowed_is_left_to_the_library() {
        for level in [0, 6] {
            let body = deflate(&[b'x'; 1000], level);
            for (room, fits) in [(0, false), (1, false), (999, false), (1000, true)] {
                assert_eq!(inflate(&body, &mut vec![0; room]).is_some(), fits, "{room}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_was_compressed_is_read(data in text(), level in 0_u32..10, tail in 0_usize..12) {
            let mut body = deflate(&data, level);
            let length = body.len();
            body.extend(std::iter::repeat_n(0xa5, tail));
            if let Some(read) = ours(&body) {
                prop_assert_eq!(read, (data, length));
            }
        }

        #[test]
        fn nothing_is_read_that_the_library_reads_otherwise(
            data in text(),
            level in 0_u32..10,
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let mut body = deflate(&data, level);
            for (at, byte) in edits {
                // Mostly in the codes, which come first.
                let reach = if byte & 1 == 0 { body.len().min(80) } else { body.len() };
                body[at.index(reach)] = byte;
            }
            if let Some(cut) = cut {
                body.truncate(cut.index(body.len() + 1));
            }
            if let Some(read) = ours(&body) {
                prop_assert_eq!(Some(read), by_library(&body));
            }
        }
    }
}
