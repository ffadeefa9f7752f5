//! Compressing a scrape in chunks that stand on their own, so that they can be made in any order,
//! kept, and sent again.
//!
//! With gzip all chunks make one member, because some readers (browsers among them) stop at the end
//! of the first: each chunk is deflated without looking back at those before, and ends at a byte;
//! checksums of chunks add up to that of the whole. With zstd each chunk is a frame.

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

/// Checksum and length of what is in a chunk, as gzip wants them; nothing for others.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    crc: Hasher,
    /// Modulo 2^32, as the format has it.
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

/// What stands around the chunks of one answer, in the order they are sent.
#[derive(Debug)]
pub struct Envelope {
    compression: Compression,
    sum: Sum,
}

/// A member made by nobody knows which system, at no time (RFC 1952, 2.3).
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// A last block that is empty (RFC 1951, 3.2.6).
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

    /// Takes what is in `plain`, and leaves its buffer unless that is the chunk itself.
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

/// What is kept should not keep room for more.
fn shrunk(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.shrink_to_fit();
    bytes
}

/// Compresses something that is whole.
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

/// Label texts shrink to a tenth or less; the marker at the end takes a few bytes.
fn room(plain: &[u8]) -> usize {
    plain.len() / 8 + 64
}

fn deflate(compress: &mut Compress, plain: &[u8]) -> io::Result<Vec<u8>> {
    compress.reset();
    let mut out = Vec::with_capacity(room(plain));
    loop {
        let rest = &plain[compress.total_in() as usize..];
        compress.compress_vec(rest, &mut out, FlushCompress::Sync).map_err(io::Error::other)?;
        // Room that is left tells that the marker is out, too.
        if compress.total_in() == plain.len() as u64 && out.len() < out.capacity() {
            return Ok(out);
        }
        out.reserve(out.capacity().max(64));
    }
}

impl Envelope {
    /// Appends what comes first.
    pub fn begin(compression: Compression, out: &mut Vec<u8>) -> Envelope {
        if compression == Compression::Gzip {
            out.extend_from_slice(&GZIP_HEADER);
        }
        Envelope { compression, sum: Sum::default() }
    }

    /// The chunk is sent next.
    pub fn add(&mut self, sum: &Sum) {
        if self.compression == Compression::Gzip {
            self.sum.crc.combine(&sum.crc);
            self.sum.length = self.sum.length.wrapping_add(sum.length);
        }
    }

    /// Appends what comes last.
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
