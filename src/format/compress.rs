//! Content codings: decoding the bodies of pushes up to a limit, and the ways to encode a scrape.
//!
//! The limit applies while decoding: a length that a body claims is bounded before it is used for an
//! allocation, and output stops shortly after the limit. Every coding is verified to its end —
//! checksum, length, last block — because a body that was cut off may still look like a shorter,
//! complete one. Nothing may follow that end.

mod chunks;
mod deflate;
mod gunzip;

use std::io::{self, Read};

use flate2::{Decompress, FlushDecompress, Status};

pub use chunks::{Chunk, Encoder, Envelope, Sum, encode};

/// A coding that the body of a push may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// Any number of members.
    Gzip,
    /// Any number of frames, windows up to 8 MiB (RFC 9659).
    Zstd,
    /// The framing format, which push clients send, or one raw block, which others mean by the same
    /// name.
    Snappy,
    /// The zlib format, as HTTP defines it; not a bare deflate stream, which has no checksum.
    Deflate,
}

/// A coding that a scrape may be sent in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    #[default]
    Identity,
    Gzip,
    Zstd,
}

/// How hard to compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    /// 0 (stored) to 9.
    pub gzip: u32,
    /// 1 to 22; above 3, a scrape costs more time than the network saves.
    pub zstd: i32,
}

impl Default for Levels {
    /// The fastest level of each: labels repeat so much that more effort hardly makes them smaller.
    fn default() -> Levels {
        Levels { gzip: 1, zstd: 1 }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// 413.
    #[error("the decompressed body has more than {max} bytes")]
    TooLarge { max: usize },
    /// 400.
    #[error("the body is not a valid {coding} stream: {reason}")]
    Corrupt { coding: Coding, reason: String },
}

/// 2^23 bytes.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

const SNAPPY_STREAM_IDENTIFIER: &[u8] = b"\xff\x06\x00\x00sNaPpY";

/// No snappy block grows by more than this factor: 3 bytes copy at most 64.
const SNAPPY_RATIO_MAX: usize = 22;

impl Coding {
    /// By its name in a Content-Encoding header, in any case.
    pub fn from_name(name: &str) -> Option<Coding> {
        let names = [
            ("gzip", Coding::Gzip),
            ("x-gzip", Coding::Gzip),
            ("zstd", Coding::Zstd),
            ("snappy", Coding::Snappy),
            ("deflate", Coding::Deflate),
        ];
        names.into_iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, coding)| coding)
    }

    pub fn name(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Zstd => "zstd",
            Coding::Snappy => "snappy",
            Coding::Deflate => "deflate",
        }
    }
}

impl std::fmt::Display for Coding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Compression {
    /// The value of the Content-Encoding header, if there is one to send.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Compression::Identity => None,
            Compression::Gzip => Some("gzip"),
            Compression::Zstd => Some("zstd"),
        }
    }
}

/// Replaces the content of `out` with the decoded `body`, at most `max` bytes; the buffer is reused. A
/// body of no bytes is empty in every coding, because that is what clients send when they have nothing
/// to push.
///
/// # Errors
/// If the output is too long, or the body is not one complete stream; the content of `out` is then
/// unspecified.
pub fn decode(
    coding: Coding,
    body: &[u8],
    max: usize,
    out: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    out.clear();
    if body.is_empty() {
        return Ok(());
    }
    let corrupt = |error: io::Error| DecodeError::Corrupt { coding, reason: error.to_string() };
    match coding {
        Coding::Gzip => gunzip::gunzip(body, max, out)
            .map_err(|reason| DecodeError::Corrupt { coding, reason: reason.to_owned() })?,
        Coding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(body).map_err(corrupt)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(corrupt)?;
            read_capped(decoder, max, out).map_err(corrupt)?;
        }
        Coding::Snappy if is_snappy_stream(body) => {
            read_capped(snap::read::FrameDecoder::new(body), max, out).map_err(corrupt)?;
        }
        Coding::Snappy => snappy_block(body, max, out)?,
        Coding::Deflate => inflate(body, max, out)?,
    }
    if out.len() > max { Err(DecodeError::TooLarge { max }) } else { Ok(()) }
}

/// Whether the body is in the framing format, rather than a raw block.
pub fn is_snappy_stream(body: &[u8]) -> bool {
    body.starts_with(SNAPPY_STREAM_IDENTIFIER)
}

/// Undoes several codings, the last one first.
///
/// # Errors
/// As [`decode`]; the limit applies to the output of each coding.
pub fn decode_all(
    codings: &[Coding],
    body: &[u8],
    max: usize,
    out: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    let Some((last, before)) = codings.split_last() else {
        out.clear();
        out.extend_from_slice(body);
        return if body.len() > max { Err(DecodeError::TooLarge { max }) } else { Ok(()) };
    };
    decode(*last, body, max, out)?;
    for coding in before.iter().rev() {
        let inner = std::mem::take(out);
        decode(*coding, &inner, max, out)?;
    }
    Ok(())
}

/// Reads up to one byte more than allowed, so that the caller can tell that the limit was exceeded.
fn read_capped(decoder: impl Read, max: usize, out: &mut Vec<u8>) -> io::Result<()> {
    decoder.take((max as u64).saturating_add(1)).read_to_end(out)?;
    Ok(())
}

/// A block states its decoded length. That is trusted only if a block of this size can decode to it.
fn snappy_block(body: &[u8], max: usize, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let corrupt = |reason: String| DecodeError::Corrupt { coding: Coding::Snappy, reason };
    let length = snap::raw::decompress_len(body).map_err(|error| corrupt(error.to_string()))?;
    if length > body.len().saturating_mul(SNAPPY_RATIO_MAX) {
        return Err(corrupt(format!("{} bytes cannot become {length}", body.len())));
    }
    if length > max {
        return Err(DecodeError::TooLarge { max });
    }
    out.resize(length, 0);
    let decoded = snap::raw::Decoder::new().decompress(body, out);
    decoded.map(|_| ()).map_err(|error| corrupt(error.to_string()))
}

/// Written by hand, because flate2's reader does not notice when a stream is cut off.
fn inflate(body: &[u8], max: usize, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    const CHUNK: usize = 32 << 10;
    let corrupt = |reason: String| DecodeError::Corrupt { coding: Coding::Deflate, reason };
    let mut decoder = Decompress::new(true);
    loop {
        if out.len() > max {
            return Err(DecodeError::TooLarge { max });
        }
        out.reserve(CHUNK);
        let (read, written) = (decoder.total_in(), out.len());
        let rest = &body[read as usize..];
        let status = decoder
            .decompress_vec(rest, out, FlushDecompress::None)
            .map_err(|error| corrupt(error.to_string()))?;
        if status == Status::StreamEnd {
            break;
        }
        if decoder.total_in() == read && out.len() == written {
            return Err(corrupt("it is cut off".to_owned()));
        }
    }
    if decoder.total_in() == body.len() as u64 {
        Ok(())
    } else {
        Err(corrupt("something follows it".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::GzEncoder;

    use super::*;

    const MAX: usize = 1 << 20;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(data: &[u8]) -> Vec<u8> {
        let mut encoder =
            flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(data: &[u8]) -> Vec<u8> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        encoder.include_checksum(true).unwrap();
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn snappy(data: &[u8]) -> Vec<u8> {
        let mut encoder = snap::write::FrameEncoder::new(Vec::new());
        encoder.write_all(data).unwrap();
        encoder.into_inner().unwrap()
    }

    fn block(data: &[u8]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(data).unwrap()
    }

    type Coder = (&'static str, Coding, fn(&[u8]) -> Vec<u8>);

    const ALL: [Coder; 5] = [
        ("gzip", Coding::Gzip, gzip),
        ("zstd", Coding::Zstd, zstd),
        ("snappy frames", Coding::Snappy, snappy),
        ("snappy block", Coding::Snappy, block),
        ("deflate", Coding::Deflate, zlib),
    ];

    /// Repetitive, but not so much that it compresses to a few bytes.
    fn data(length: usize) -> Vec<u8> {
        let line = |at: usize| format!("requests_total{{path=\"/{at}\"}} {}\n", at * 7919 % 1000);
        (0..).flat_map(|at| line(at).into_bytes()).take(length).collect()
    }

    fn decoded(coding: Coding, body: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let mut out = b"of the last body".to_vec();
        decode(coding, body, MAX, &mut out).map(|()| out)
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        for (name, coding, encode) in ALL {
            for length in [0, 1, 100, 65_536, 65_537, 300_000, MAX] {
                let data = data(length);
                assert!(decoded(coding, &encode(&data)) == Ok(data), "{name}, {length}");
            }
            assert_eq!(decoded(coding, b""), Ok(vec![]), "{name}");
        }
    }

    #[test]
    fn the_cap_is_exact() {
        for (name, coding, encode) in ALL {
            let body = encode(&data(1000));
            let mut out = Vec::new();
            assert_eq!(decode(coding, &body, 1000, &mut out), Ok(()), "{name}");
            for max in [0, 1, 999] {
                let error = DecodeError::TooLarge { max };
                assert_eq!(decode(coding, &body, max, &mut out), Err(error), "{name}");
            }
        }
    }

    #[test]
    fn a_bomb_takes_no_more_memory_than_the_cap() {
        let zeros = vec![0; 16 << 20];
        for (name, coding, encode) in ALL {
            let body = encode(&zeros);
            let mut out = Vec::new();
            let error = DecodeError::TooLarge { max: MAX };
            assert_eq!(decode(coding, &body, MAX, &mut out), Err(error), "{name}");
            assert!(out.capacity() <= 4 * MAX, "{name}: {}", out.capacity());
        }
    }

    #[test]
    fn every_cut_is_found() {
        for (name, coding, encode) in ALL {
            let body = encode(&data(2000));
            for length in 1..body.len() {
                // A stream of chunks may end wherever a chunk ends. Here that is only after the
                // identifier: the 2000 bytes are one chunk.
                if name == "snappy frames" && length == SNAPPY_STREAM_IDENTIFIER.len() {
                    continue;
                }
                let result = decoded(coding, &body[..length]);
                assert!(
                    matches!(result, Err(DecodeError::Corrupt { .. })),
                    "{name} cut to {length} of {}: {result:?}",
                    body.len()
                );
            }
        }
    }

    #[test]
    fn every_damage_is_found() {
        // A raw block has no checksum, so some damage to it cannot be seen.
        for (name, coding, encode) in ALL.into_iter().filter(|(name, ..)| *name != "snappy block") {
            let data = data(2000);
            let body = encode(&data);
            for at in 0..body.len() {
                let mut body = body.clone();
                body[at] ^= 0x10;
                let result = decoded(coding, &body);
                // Flags and times in headers, and the padding of the last byte, do not affect the
                // content.
                assert!(result.is_err() || result.as_ref() == Ok(&data), "{name} damaged at {at}");
            }
        }
    }

    #[test]
    fn nothing_may_follow() {
        for (name, coding, encode) in ALL {
            for junk in [&b"\0"[..], b"\x1f", b"\x1f\x8b", b"junk that is long enough", &[0; 64]] {
                let body = [&encode(&data(100)), junk].concat();
                let result = decoded(coding, &body);
                assert!(matches!(result, Err(DecodeError::Corrupt { .. })), "{name}: {result:?}");
            }
        }
    }

    #[test]
    fn streams_put_together_are_one() {
        let (a, b) = (data(1000), data(3000));
        for (name, coding, encode) in ALL.into_iter().take(3) {
            let body = [encode(&a), encode(b""), encode(&b)].concat();
            assert!(decoded(coding, &body) == Ok([&*a, &*b].concat()), "{name}");
            let body = [encode(&a), encode(&vec![0; MAX])].concat();
            assert_eq!(decoded(coding, &body), Err(DecodeError::TooLarge { max: MAX }), "{name}");
        }
    }

    /// Two equal members end with the same trailer as one of them.
    #[test]
    fn the_same_member_twice_is_not_one() {
        let member = gzip(b"a 1\n");
        for times in 1..4 {
            let expected = Ok(b"a 1\n".repeat(times));
            assert_eq!(decoded(Coding::Gzip, &member.repeat(times)), expected);
        }
        // Uncompressed data that contains what looks like the start of a member.
        let data = b"a 1 # \x1f\x8b\x08\n";
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::none());
        encoder.write_all(data).unwrap();
        assert_eq!(decoded(Coding::Gzip, &encoder.finish().unwrap()).as_deref(), Ok(&data[..]));
    }

    #[test]
    fn what_is_none_of_it_is_refused() {
        for (name, coding, _) in ALL {
            for body in [&b"a 1\n"[..], b"\0", &[0; 100], &[0xff; 100]] {
                let result = decoded(coding, body);
                // A single zero byte is an empty raw block.
                assert!(
                    result.is_err() || (coding, body) == (Coding::Snappy, b"\0"),
                    "{name}: {body:?}"
                );
            }
        }
    }

    #[test]
    fn a_block_that_claims_too_much_is_not_believed() {
        // 6 bytes that claim to decode to 2^32 - 1.
        let error = decoded(Coding::Snappy, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the body is not a valid snappy stream: 6 bytes cannot become 4294967295"
        );
    }

    #[test]
    fn zstd_windows_are_limited() {
        let wide = |log: u32| {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
            encoder.window_log(log).unwrap();
            // In two steps, so that the encoder does not know the size and limit the window to it.
            encoder.write_all(b"a 1\n").unwrap();
            encoder.flush().unwrap();
            encoder.write_all(b"a 1\n").unwrap();
            encoder.finish().unwrap()
        };
        assert!(decoded(Coding::Zstd, &wide(23)).is_ok());
        assert!(decoded(Coding::Zstd, &wide(24)).is_err());
    }

    #[test]
    fn several_codings_are_undone_backwards() {
        let mut out = Vec::new();
        let body = zstd(&gzip(b"a 1\n"));
        assert_eq!(decode_all(&[Coding::Gzip, Coding::Zstd], &body, MAX, &mut out), Ok(()));
        assert_eq!(out, b"a 1\n");
        assert!(decode_all(&[Coding::Zstd, Coding::Gzip], &body, MAX, &mut out).is_err());
        assert_eq!(decode_all(&[], b"a 1\n", 4, &mut out), Ok(()));
        assert_eq!(out, b"a 1\n");
        let error = DecodeError::TooLarge { max: 3 };
        assert_eq!(decode_all(&[], b"a 1\n", 3, &mut out), Err(error));
    }

    #[test]
    fn scrapes_are_encoded_in_chunks() {
        for (compression, coding) in
            [(Compression::Gzip, Coding::Gzip), (Compression::Zstd, Coding::Zstd)]
        {
            let data = data(500_000);
            let mut encoder = Encoder::new(compression, Levels::default()).unwrap();
            for size in [1, 10_000, 500_000] {
                let mut body = Vec::new();
                let mut envelope = Envelope::begin(compression, &mut body);
                for chunk in data[..size * 3 % 500_001].chunks(size).chain([&b""[..]]) {
                    let chunk = encoder.chunk(&mut chunk.to_vec()).unwrap();
                    envelope.add(&chunk.sum);
                    body.extend_from_slice(&chunk.bytes);
                }
                envelope.finish(&mut body);
                assert!(decoded(coding, &body).as_deref() == Ok(&data[..size * 3 % 500_001]));
                // Readers that stop after the first member miss nothing.
                if compression == Compression::Gzip {
                    let mut first = Vec::new();
                    let mut reader = flate2::bufread::GzDecoder::new(&*body);
                    reader.read_to_end(&mut first).unwrap();
                    assert!(first == data[..size * 3 % 500_001] && reader.into_inner().is_empty());
                }
            }
            assert_eq!(compression.name(), Some(coding.name()));
        }
        let mut encoder = Encoder::new(Compression::Identity, Levels::default()).unwrap();
        assert_eq!(encoder.chunk(&mut b"a 1\n".to_vec()).unwrap().bytes, b"a 1\n");
    }

    /// Every optional part of a header, and damage to each.
    #[test]
    fn headers_of_gzip() {
        let plain = gzip(b"a 1\n");
        let with = |flags: u8, fields: &[u8]| {
            let mut body = plain.clone();
            body[3] = flags;
            body.splice(10..10, fields.iter().copied());
            body
        };
        let mut checked = with(2, b"");
        let mut sum = flate2::Crc::new();
        sum.update(&checked[..10]);
        checked.splice(10..10, (sum.sum() as u16).to_le_bytes());
        for body in [
            with(1, b""),
            with(4, b"\x03\x00xyz"),
            with(8, b"name\0"),
            with(16, b"a comment\0"),
            with(4 + 8 + 16, b"\x00\x00name\0comment\0"),
            checked.clone(),
        ] {
            assert_eq!(decoded(Coding::Gzip, &body).as_deref(), Ok(&b"a 1\n"[..]));
            for end in 1..body.len() {
                assert!(decoded(Coding::Gzip, &body[..end]).is_err(), "{end}");
            }
        }
        checked[10] ^= 1;
        for body in [with(4, b"\xff\xff"), with(0x20, b""), with(8, b""), checked] {
            assert!(decoded(Coding::Gzip, &body).is_err());
        }
    }
}
