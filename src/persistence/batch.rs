//! Changes to records that are written together or not at all.

use super::{Record, Table};

/// Changes in order; the last change of a record wins. All in one buffer, to be reused.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    len: usize,
}

/// One change of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// A record, which may replace one with the same key.
    Put(Record<'a>),
    /// A new state of a record that exists and has a state.
    State { table: Table, key: &'a [u8], state: &'a [u8] },
    /// There is no such record, from now on or anyway.
    Delete { table: Table, key: &'a [u8] },
}

/// The table, and the lengths of key, value and state. The latter two may be [`NONE`].
const HEAD_BYTES: usize = 13;
const NONE: u32 = u32::MAX;

/// Makes room in a buffer that is sometimes large for a moment.
///
/// A buffer that grows by doubling leaves pieces behind, which the system's allocator keeps. What is
/// larger than 32 MiB it returns to the system at once, and untouched memory costs nothing. So a buffer
/// of a few MiB grows beyond that in one step.
pub(super) fn make_room<T>(buffer: &mut Vec<T>, more: usize) {
    const LARGE_BYTES: usize = 2 << 20;
    const GIVEN_BACK_BYTES: usize = 33 << 20;
    let needed = buffer.len() + more;
    if needed > buffer.capacity() && needed * size_of::<T>() > LARGE_BYTES {
        buffer.reserve(more.max(GIVEN_BACK_BYTES / size_of::<T>()));
    }
}

impl Batch {
    /// A record without a state.
    pub fn put(&mut self, table: Table, key: &[u8], value: &[u8]) {
        self.push(table, key, Some(value), None);
    }

    pub fn put_with_state(&mut self, table: Table, key: &[u8], value: &[u8], state: &[u8]) {
        self.push(table, key, Some(value), Some(state));
    }

    pub fn put_state(&mut self, table: Table, key: &[u8], state: &[u8]) {
        self.push(table, key, None, Some(state));
    }

    pub fn delete(&mut self, table: Table, key: &[u8]) {
        self.push(table, key, None, None);
    }

    fn push(&mut self, table: Table, key: &[u8], value: Option<&[u8]>, state: Option<&[u8]>) {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("records are below 4 GiB");
        let parts = [Some(key), value, state].into_iter().flatten();
        make_room(&mut self.bytes, HEAD_BYTES + parts.map(<[u8]>::len).sum::<usize>());
        self.bytes.push(table as u8);
        for length in [length(key), value.map_or(NONE, length), state.map_or(NONE, length)] {
            self.bytes.extend_from_slice(&length.to_le_bytes());
        }
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.bytes.extend_from_slice(state.unwrap_or_default());
        self.len += 1;
    }

    pub fn append(&mut self, later: &Batch) {
        make_room(&mut self.bytes, later.bytes.len());
        self.bytes.extend_from_slice(&later.bytes);
        self.len += later.len;
    }

    pub fn clear(&mut self) {
        const KEPT_BYTES: usize = 1 << 20;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.len = 0;
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of changes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Its size in memory.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub fn changes(&self) -> impl Iterator<Item = Change<'_>> + Clone {
        let mut rest = &*self.bytes;
        std::iter::from_fn(move || {
            let (change, after) = Change::read(rest)?;
            rest = after;
            Some(change)
        })
    }
}

impl<'a> Change<'a> {
    pub fn table(&self) -> Table {
        match *self {
            Change::Put(Record { table, .. })
            | Change::State { table, .. }
            | Change::Delete { table, .. } => table,
        }
    }

    pub fn key(&self) -> &'a [u8] {
        match *self {
            Change::Put(Record { key, .. })
            | Change::State { key, .. }
            | Change::Delete { key, .. } => key,
        }
    }

    /// The first change in `bytes`, and the rest; `None` if it is not complete.
    pub fn read(bytes: &'a [u8]) -> Option<(Change<'a>, &'a [u8])> {
        let (head, mut rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let [table, lengths @ ..] = head;
        let table = Table::from_u8(*table)?;
        let mut lengths = lengths.chunks_exact(4).map(|length| {
            let length = length.try_into().map_or(NONE, u32::from_le_bytes);
            (length != NONE).then_some(length as usize)
        });
        let mut piece = || match lengths.next()? {
            None => Some(None),
            Some(length) => {
                let piece;
                (piece, rest) = rest.split_at_checked(length)?;
                Some(Some(piece))
            }
        };
        let change = match (piece()??, piece()?, piece()?) {
            (key, Some(value), state) => Change::Put(Record { table, key, value, state }),
            (key, None, Some(state)) => Change::State { table, key, state },
            (key, None, None) => Change::Delete { table, key },
        };
        Some((change, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_come_back_in_their_order() {
        let table = Table::Series;
        let mut batch = Batch::default();
        batch.put(table, b"a", b"1");
        batch.delete(Table::Keys, b"");
        let mut later = Batch::default();
        later.put_with_state(table, b"a", b"", b"state");
        later.put_state(table, b"a", b"");
        batch.append(&later);
        let expected = [
            Change::Put(Record { table, key: b"a", value: b"1", state: None }),
            Change::Delete { table: Table::Keys, key: b"" },
            Change::Put(Record { table, key: b"a", value: b"", state: Some(b"state") }),
            Change::State { table, key: b"a", state: b"" },
        ];
        assert_eq!(batch.changes().collect::<Vec<_>>(), expected);
        assert_eq!(batch.len(), 4);
        batch.clear();
        assert!(batch.is_empty() && batch.changes().next().is_none());
    }

    #[test]
    fn what_is_cut_off_or_impossible_is_no_change() {
        let mut batch = Batch::default();
        batch.put_with_state(Table::Series, b"key", b"value", b"state");
        let whole = &batch.bytes;
        for end in 0..whole.len() {
            assert_eq!(Change::read(&whole[..end]), None, "{end}");
        }
        let mut unknown = whole.clone();
        unknown[0] = 6;
        assert_eq!(Change::read(&unknown), None);
    }
}
