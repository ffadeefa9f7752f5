//! Buffers of scrapes, to be reused. The kernel clears memory that is freed and allocated again, page by
//! page, which takes longer than writing an exposition into it.

use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

/// How many are kept: as many as two scrapes use at a time.
const KEPT_MAX: usize = 8;
/// Larger ones are not kept; few families need them.
const KEPT_BYTES_MAX: usize = 512 << 10;

/// Buffers that are free.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

/// Shared bytes. Their buffer returns to the pool when the last user has gone.
struct Lent {
    bytes: Vec<u8>,
    home: Pool,
}

impl Pool {
    /// An empty buffer, which usually has capacity.
    pub(super) fn take(&self) -> Vec<u8> {
        self.0.lock().pop().unwrap_or_default()
    }

    pub(super) fn share(&self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent { bytes, home: self.clone() })
    }

    pub(super) fn give_back(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut waiting = self.0.lock();
        if waiting.len() < KEPT_MAX && (1..=KEPT_BYTES_MAX).contains(&buffer.capacity()) {
            waiting.push(buffer);
        }
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.home.give_back(mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_its_last_user_has_gone() {
        let pool = Pool::default();
        assert_eq!(pool.take().capacity(), 0);
        let bytes = pool.share(b"a 1\n".to_vec());
        let other = bytes.slice(2..);
        drop(bytes);
        assert_eq!(pool.take().capacity(), 0, "still in use");
        assert_eq!(other, &b"1\n"[..]);
        drop(other);
        let buffer = pool.take();
        assert!(buffer.is_empty() && buffer.capacity() >= 4);
        assert_eq!(pool.take().capacity(), 0, "there was one only");
    }

    #[test]
    fn what_waits_is_bounded() {
        let pool = Pool::default();
        pool.give_back(Vec::with_capacity(KEPT_BYTES_MAX + 1));
        assert_eq!(pool.take().capacity(), 0);
        for _ in 0..KEPT_MAX + 1 {
            pool.give_back(Vec::with_capacity(10));
        }
        let kept = (0..KEPT_MAX + 1).filter(|_| pool.take().capacity() > 0).count();
        assert_eq!(kept, KEPT_MAX);
    }
}
