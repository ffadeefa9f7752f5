//! Compresses a scrape in independent chunks, so that they can be made in any order, kept, and sent
//! again.
//!
//! With gzip, all chunks form one member, because some readers (browsers among them) stop after the
//! first one. Each chunk is deflated without references to earlier ones and ends on a byte boundary;
//! the checksums of the chunks can be combined into that of the whole. With zstd each chunk is a frame.

use std::io;

use crc32fast::Hasher;
use flate2::{Compress, FlushCompress};

use super::deflate::Deflater;
use super::{Compression, Levels};

/// One chunk, compressed.
#[derive(Debug)]
pub struct Chunk {
    pub bytes: Vec<u8>,
    pub sum: Sum,
}

/// Checksum and length of the plain text of a chunk, for gzip; unused by the other codings.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    crc: Hasher,
    /// Modulo 2^32, as in the format.
    length: u32,
}

/// Makes chunks.
pub struct Encoder(Inner);

enum Inner {
    Identity,
    /// The fastest level.
    Lines(Deflater),
    Gzip(Compress),
    Zstd(zstd::bulk::Compressor<'static>),
}

/// Writes what comes before and after the chunks of one answer.
#[derive(Debug)]
pub struct Envelope {
    compression: Compression,
    sum: Sum,
}

/// The header of a member from an unknown system, without a time (RFC 1952, 2.3).
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// An empty last block (RFC 1951, 3.2.6).
const DEFLATE_END: [u8; 2] = [3, 0];

impl Encoder {
    /// # Errors
    /// If zstd cannot get its memory.
    pub fn new(compression: Compression, levels: Levels) -> io::Result<Encoder> {
        Ok(Encoder(match compression {
            Compression::Identity => Inner::Identity,
            Compression::Gzip if levels.gzip == 1 => Inner::Lines(Deflater::new()),
            Compression::Gzip => {
                let level = flate2::Compression::new(levels.gzip.min(9));
                Inner::Gzip(Compress::new(level, false))
            }
            Compression::Zstd => Inner::Zstd(zstd::bulk::Compressor::new(levels.zstd)?),
        }))
    }

    pub fn compression(&self) -> Compression {
        match self.0 {
            Inner::Identity => Compression::Identity,
            Inner::Lines(_) | Inner::Gzip(_) => Compression::Gzip,
            Inner::Zstd(_) => Compression::Zstd,
        }
    }

    /// Compresses and empties `plain`. Its buffer is kept, unless it becomes the chunk itself.
    ///
    /// # Errors
    /// If there is not enough memory.
    pub fn chunk(&mut self, plain: &mut Vec<u8>) -> io::Result<Chunk> {
        let mut sum = Sum::default();
        let bytes = match &mut self.0 {
            Inner::Identity => std::mem::take(plain),
            Inner::Lines(deflater) => {
                sum.update(plain);
                let mut out = Vec::with_capacity(room(plain));
                deflater.deflate(plain, &mut out);
                shrunk(out)
            }
            Inner::Gzip(compress) => {
                sum.update(plain);
                shrunk(deflate(compress, plain)?)
            }
            Inner::Zstd(compressor) => shrunk(compressor.compress(plain)?),
        };
        plain.clear();
        Ok(Chunk { bytes, sum })
    }
}

impl Sum {
    fn update(&mut self, plain: &[u8]) {
        self.crc.update(plain);
        self.length = self.length.wrapping_add(plain.len() as u32);
    }
}

/// Chunks may be kept for long, so give unused memory back.
fn shrunk(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.shrink_to_fit();
    bytes
}

/// Compresses a whole body at once.
///
/// # Errors
/// As [`Encoder`].
pub fn encode(compression: Compression, levels: Levels, plain: &[u8]) -> io::Result<Vec<u8>> {
    let chunk = Encoder::new(compression, levels)?.chunk(&mut plain.to_vec())?;
    let mut out = Vec::with_capacity(chunk.bytes.len() + 32);
    let mut envelope = Envelope::begin(compression, &mut out);
    envelope.add(&chunk.sum);
    out.extend_from_slice(&chunk.bytes);
    envelope.finish(&mut out);
    Ok(out)
}

/// A capacity that is nearly always enough: labels shrink to a tenth or less, and the marker at the end
/// takes a few bytes.
fn room(plain: &[u8]) -> usize {
    plain.len() / 8 + 64
}

fn deflate(compress: &mut Compress, plain: &[u8]) -> io::Result<Vec<u8>> {
    compress.reset();
    let mut out = Vec::with_capacity(room(plain));
    loop {
        let rest = &plain[compress.total_in() as usize..];
        compress.compress_vec(rest, &mut out, FlushCompress::Sync).map_err(io::Error::other)?;
        // If there is room left, the marker has been written, too.
        if compress.total_in() == plain.len() as u64 && out.len() < out.capacity() {
            return Ok(out);
        }
        out.reserve(out.capacity().max(64));
    }
}

impl Envelope {
    /// Appends what comes before the first chunk.
    pub fn begin(compression: Compression, out: &mut Vec<u8>) -> Envelope {
        if compression == Compression::Gzip {
            out.extend_from_slice(&GZIP_HEADER);
        }
        Envelope { compression, sum: Sum::default() }
    }

    /// Takes note of a chunk; call in the order in which chunks are sent.
    pub fn add(&mut self, sum: &Sum) {
        if self.compression == Compression::Gzip {
            self.sum.crc.combine(&sum.crc);
            self.sum.length = self.sum.length.wrapping_add(sum.length);
        }
    }

    /// Appends what comes after the last chunk.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self.compression == Compression::Gzip {
            out.extend_from_slice(&DEFLATE_END);
            out.extend_from_slice(&self.sum.crc.finalize().to_le_bytes());
            out.extend_from_slice(&self.sum.length.to_le_bytes());
        }
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Encoder").field(&self.compression()).finish()
    }
}
