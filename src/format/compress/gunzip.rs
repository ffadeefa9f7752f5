//! Gzip bodies of pushes. Most are small, and setting up a decompressor would cost more than
//! running it, so each thread keeps its own.

use std::cell::RefCell;

use flate2::{Decompress, FlushDecompress, Status};
use libdeflater::Decompressor;

/// The header of a member (RFC 1952, 2.3).
const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
const HEADER_CRC: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;
const RESERVED: u8 = 0xe0;

const CHUNK: usize = 32 << 10;
/// Longer bodies are decompressed piece by piece.
const AT_ONCE_BYTES: usize = 256 << 10;

thread_local! {
    static AT_ONCE: RefCell<Decompressor> = RefCell::new(Decompressor::new());
    static INFLATE: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

/// Appends the content of all members. Stops at some point after `max` bytes.
///
/// # Errors
/// If the body is not a sequence of complete members.
pub(super) fn gunzip(mut body: &[u8], max: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
    if out.is_empty() && gunzip_one(body, max, out).is_some() {
        return Ok(());
    }
    out.clear();
    while !body.is_empty() && out.len() <= max {
        let start = out.len();
        body = header(body)?;
        let Some(taken) = inflate(body, max, out)? else { return Ok(()) };
        body = trailer(&body[taken..], &out[start..])?;
    }
    Ok(())
}

/// Fills `out` if the body is a single short member, whose last bytes state its decoded length. `None`
/// for anything else, valid or not.
///
/// This takes a third of the time, but does not reveal where the compressed data ends. So it gives up
/// if another member could begin anywhere. Other bytes in front of the trailer go unnoticed.
fn gunzip_one(body: &[u8], max: usize, out: &mut Vec<u8>) -> Option<()> {
    let data = header(body).ok()?;
    let (data, end) = data.split_last_chunk::<8>()?;
    let length = u32::from_le_bytes(*end.last_chunk()?) as usize;
    if length > max.min(AT_ONCE_BYTES) || memchr::memmem::find(data, &MAGIC).is_some() {
        return None;
    }
    out.resize(length, 0);
    let inflate = |with: &mut Decompressor| with.deflate_decompress(data, out).ok();
    let written = AT_ONCE.with_borrow_mut(inflate)?;
    out.truncate(written);
    trailer(end, out).ok().map(drop)
}

/// Appends the decompressed data, and returns how many bytes of `body` it took; `None` once `out` has
/// more than `max` bytes.
///
/// # Errors
/// If it is damaged or cut off.
fn inflate(body: &[u8], max: usize, out: &mut Vec<u8>) -> Result<Option<usize>, &'static str> {
    INFLATE.with_borrow_mut(|inflate| {
        inflate.reset(false);
        // Pushes shrink to about a fifth.
        out.reserve((body.len() * 6).clamp(256, CHUNK));
        loop {
            let (read, written) = (inflate.total_in(), out.len());
            let rest = &body[read as usize..];
            let status = inflate
                .decompress_vec(rest, out, FlushDecompress::None)
                .map_err(|_| "the compressed data is damaged")?;
            if status == Status::StreamEnd {
                return Ok(Some(inflate.total_in() as usize));
            }
            if out.len() > max {
                return Ok(None);
            }
            if inflate.total_in() == read && out.len() == written && out.len() < out.capacity() {
                return Err("it is cut off");
            }
            if out.len() == out.capacity() {
                out.reserve(CHUNK);
            }
        }
    })
}

/// Returns what follows the header of a member.
fn header(body: &[u8]) -> Result<&[u8], &'static str> {
    const CUT_OFF: &str = "a header is cut off";
    let (fixed, mut rest) = body.split_at_checked(10).ok_or(CUT_OFF)?;
    let flags = fixed[3];
    if fixed[..3] != MAGIC || flags & RESERVED != 0 {
        return Err("the header is not that of gzip");
    }
    if flags & EXTRA != 0 {
        let (length, after) = rest.split_first_chunk::<2>().ok_or(CUT_OFF)?;
        rest = after.get(usize::from(u16::from_le_bytes(*length))..).ok_or(CUT_OFF)?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            let end = memchr::memchr(0, rest).ok_or(CUT_OFF)?;
            rest = &rest[end + 1..];
        }
    }
    if flags & HEADER_CRC != 0 {
        let (expected, after) = rest.split_first_chunk::<2>().ok_or(CUT_OFF)?;
        let sum = checksum(&body[..body.len() - rest.len()]);
        if sum as u16 != u16::from_le_bytes(*expected) {
            return Err("the checksum of the header is wrong");
        }
        rest = after;
    }
    Ok(rest)
}

/// Compares the trailer with the content of its member. Returns what follows it.
fn trailer<'b>(body: &'b [u8], member: &[u8]) -> Result<&'b [u8], &'static str> {
    let (sum, rest) = body.split_first_chunk::<4>().ok_or("it is cut off")?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or("it is cut off")?;
    if u32::from_le_bytes(*sum) != checksum(member) {
        return Err("the checksum is wrong");
    }
    // Modulo 2^32, as in the format.
    if u32::from_le_bytes(*length) != member.len() as u32 {
        return Err("the length is wrong");
    }
    Ok(rest)
}

fn checksum(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}
