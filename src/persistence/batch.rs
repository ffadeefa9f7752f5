//! Changes to records that are written together or not at all.

use super::Table;

/// Changes in the order they were made; the last one to a key wins. One buffer, used again and
/// again.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    len: usize,
}

/// One change of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    pub table: Table,
    pub key: &'a [u8],
    /// `None` deletes the record.
    pub value: Option<&'a [u8]>,
}

/// Table, length of the key, length of the value or [`DELETED`].
const HEAD_BYTES: usize = 9;
const DELETED: u32 = u32::MAX;

impl Batch {
    pub fn put(&mut self, table: Table, key: &[u8], value: &[u8]) {
        self.push(table, key, Some(value));
    }

    pub fn delete(&mut self, table: Table, key: &[u8]) {
        self.push(table, key, None);
    }

    fn push(&mut self, table: Table, key: &[u8], value: Option<&[u8]>) {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("records are below 4 GiB");
        self.bytes.push(table as u8);
        self.bytes.extend_from_slice(&length(key).to_le_bytes());
        self.bytes.extend_from_slice(&value.map_or(DELETED, length).to_le_bytes());
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.len += 1;
    }

    pub fn append(&mut self, later: &Batch) {
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

    /// Changes in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// As written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn changes(&self) -> impl Iterator<Item = Change<'_>> {
        let mut rest = &*self.bytes;
        std::iter::from_fn(move || {
            let (change, after) = Change::read(rest)?;
            rest = after;
            Some(change)
        })
    }
}

impl Change<'_> {
    /// The first change of `bytes`, and what follows it; `None` if there is no whole one.
    pub fn read(bytes: &[u8]) -> Option<(Change<'_>, &[u8])> {
        let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let [table, a, b, c, d, e, f, g, h] = *head;
        let table = Table::from_u8(table)?;
        let (key, rest) = rest.split_at_checked(u32::from_le_bytes([a, b, c, d]) as usize)?;
        let (value, rest) = match u32::from_le_bytes([e, f, g, h]) {
            DELETED => (None, rest),
            length => {
                let (value, rest) = rest.split_at_checked(length as usize)?;
                (Some(value), rest)
            }
        };
        Some((Change { table, key, value }, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_come_back_in_their_order() {
        let mut batch = Batch::default();
        batch.put(Table::Series, b"a", b"1");
        batch.delete(Table::Keys, b"");
        let mut later = Batch::default();
        later.put(Table::Series, b"a", b"");
        batch.append(&later);
        let expected = [
            Change { table: Table::Series, key: b"a", value: Some(b"1") },
            Change { table: Table::Keys, key: b"", value: None },
            Change { table: Table::Series, key: b"a", value: Some(b"") },
        ];
        assert_eq!(batch.changes().collect::<Vec<_>>(), expected);
        assert_eq!(batch.len(), 3);
        batch.clear();
        assert!(batch.is_empty() && batch.changes().next().is_none());
    }

    #[test]
    fn what_is_cut_off_or_impossible_is_no_change() {
        let mut batch = Batch::default();
        batch.put(Table::Series, b"key", b"value");
        let whole = batch.as_bytes();
        for end in 0..whole.len() {
            assert_eq!(Change::read(&whole[..end]), None, "{end}");
        }
        let mut unknown = whole.to_vec();
        unknown[0] = 6;
        assert_eq!(Change::read(&unknown), None);
    }
}
