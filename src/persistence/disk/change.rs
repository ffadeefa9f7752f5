//! What frames hold: records, and parts of them.
//!
//! ```text
//! 0  table  n  key:n  m  value:m          a record that has no state
//! 1  table  n  key:n  m  value:m          one that has
//! 2  id:12  n  state:n                    the state of the record with this id
//! 3  id:12                                deleted
//! ```
//!
//! For each id, the last record and the last state are valid. A deletion, or a record without a state,
//! ends everything before it. The order of a record and its state means nothing: a record that is copied
//! to free space comes after newer states.
//!
//! Lengths are varints. A state does not repeat the key of its record, so one that changes all the time
//! costs little.
//!
//! Format 1 had records without states, and deletions by key:
//!
//! ```text
//! table  length of key:4  length of value:4, or ff ff ff ff  key  value
//! ```

use super::format::Header;
use super::index::Id;
use crate::model::packed::{Packer, Unpacker};
use crate::persistence::{Change, Record, Table};

/// One entry of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'b> {
    Record { table: Table, key: &'b [u8], value: &'b [u8], has_state: bool },
    State { id: Id, state: &'b [u8] },
    Deleted { id: Id },
}

const RECORD: u8 = 0;
const RECORD_WITH_STATE: u8 = 1;
const STATE: u8 = 2;
const DELETED: u8 = 3;

/// In format 1, this stands in the place of the length of the value.
const DELETED_1: u32 = u32::MAX;

/// What a change becomes in a frame: a part for the record, and one for its state. `id` is that of the
/// record.
pub(super) fn parts<'b>(change: &Change<'b>, id: Id) -> [Option<Part<'b>>; 2] {
    match *change {
        Change::Put(Record { table, key, value, state }) => {
            let record = Part::Record { table, key, value, has_state: state.is_some() };
            [Some(record), state.map(|state| Part::State { id, state })]
        }
        Change::State { state, .. } => [None, Some(Part::State { id, state })],
        Change::Delete { .. } => [Some(Part::Deleted { id }), None],
    }
}

impl<'b> Part<'b> {
    /// How many bytes [`write`](Part::write) will write.
    pub(super) fn length(&self) -> usize {
        const ID: usize = 1 + Id::BYTES;
        match self {
            Part::Record { key, value, .. } => 2 + with_length(key) + with_length(value),
            Part::State { state, .. } => ID + with_length(state),
            Part::Deleted { .. } => ID,
        }
    }

    pub(super) fn write(&self, into: &mut Vec<u8>) {
        match *self {
            Part::Record { table, key, value, has_state } => {
                into.push(if has_state { RECORD_WITH_STATE } else { RECORD });
                into.push(table as u8);
                Packer(into).bytes(key);
                Packer(into).bytes(value);
            }
            Part::State { id, state } => {
                into.push(STATE);
                into.extend_from_slice(&id.bytes());
                Packer(into).bytes(state);
            }
            Part::Deleted { id } => {
                into.push(DELETED);
                into.extend_from_slice(&id.bytes());
            }
        }
    }

    /// The id of its record, in the store with this number.
    pub(super) fn id(&self, store: u64) -> Id {
        match *self {
            Part::Record { table, key, .. } => Id::new(store, table, key),
            Part::State { id, .. } | Part::Deleted { id } => id,
        }
    }

    /// The first part in `bytes`, which come from a frame of this segment, and the rest; `None` if it is not
    /// complete.
    pub(super) fn read(bytes: &'b [u8], header: &Header) -> Option<(Part<'b>, &'b [u8])> {
        match header.format {
            1 => Part::read_1(bytes, header.store),
            _ => Part::read_present(bytes),
        }
    }

    /// The same in the present format.
    pub(super) fn read_present(bytes: &'b [u8]) -> Option<(Part<'b>, &'b [u8])> {
        let (&kind, rest) = bytes.split_first()?;
        if let RECORD | RECORD_WITH_STATE = kind {
            let mut rest = Unpacker(rest);
            let table = Table::from_u8(rest.u8().ok()?)?;
            let (key, value) = (rest.bytes().ok()?, rest.bytes().ok()?);
            let has_state = kind == RECORD_WITH_STATE;
            return Some((Part::Record { table, key, value, has_state }, rest.0));
        }
        let (id, rest) = rest.split_first_chunk()?;
        let (id, mut rest) = (Id::read(*id), Unpacker(rest));
        let part = match kind {
            STATE => Part::State { id, state: rest.bytes().ok()? },
            DELETED => Part::Deleted { id },
            _ => return None,
        };
        Some((part, rest.0))
    }

    fn read_1(bytes: &'b [u8], store: u64) -> Option<(Part<'b>, &'b [u8])> {
        let (&table, rest) = bytes.split_first()?;
        let table = Table::from_u8(table)?;
        let (key, rest) = rest.split_first_chunk()?;
        let (value, rest) = rest.split_first_chunk()?;
        let [key, value] = [*key, *value].map(u32::from_le_bytes);
        let (key, rest) = rest.split_at_checked(key as usize)?;
        if value == DELETED_1 {
            return Some((Part::Deleted { id: Id::new(store, table, key) }, rest));
        }
        let (value, rest) = rest.split_at_checked(value as usize)?;
        Some((Part::Record { table, key, value, has_state: false }, rest))
    }
}

fn with_length(bytes: &[u8]) -> usize {
    let bits = usize::BITS - bytes.len().leading_zeros();
    bits.div_ceil(7).max(1) as usize + bytes.len()
}

#[cfg(test)]
mod tests {
    use super::super::format::FORMAT;
    use super::*;

    const HEADER: Header = Header { format: FORMAT, store: 7, segment: 1, previous_end: 0 };

    #[test]
    fn parts_come_back_and_what_is_cut_off_is_none() {
        let id = Id::new(7, Table::Series, b"key");
        let record =
            |key, value, has_state| Part::Record { table: Table::Series, key, value, has_state };
        let long = [b'x'; 300];
        for part in [
            record(b"key", b"value", false),
            record(b"", &long, true),
            record(&long[..127], &long[..128], true),
            Part::State { id, state: b"" },
            Part::State { id, state: &long },
            Part::Deleted { id },
        ] {
            let (mut bytes, length) = (Vec::new(), part.length());
            part.write(&mut bytes);
            assert_eq!(bytes.len(), length, "{part:?}");
            for end in 0..length {
                assert_eq!(Part::read(&bytes[..end], &HEADER), None, "{part:?} {end}");
            }
            bytes.extend_from_slice(b"rest");
            assert_eq!(Part::read(&bytes, &HEADER), Some((part, &b"rest"[..])));
        }
        assert_eq!(record(b"key", b"", true).id(7), id);
        let unknown = [[4; 20], [0; 20].map(|_| 9)];
        assert!(unknown.iter().all(|bytes| Part::read(bytes, &HEADER).is_none()));
        assert_eq!(Part::read(&[RECORD, 6, 0, 0], &HEADER), None, "no such table");
    }

    #[test]
    fn parts_of_format_1_are_read() {
        let header = Header { format: 1, ..HEADER };
        let bytes = b"\x02\x03\0\0\0\x02\0\0\0keyva\x02\x03\0\0\0\xff\xff\xff\xffkey";
        let record =
            Part::Record { table: Table::Series, key: b"key", value: b"va", has_state: false };
        let deleted = Part::Deleted { id: Id::new(7, Table::Series, b"key") };
        let (first, rest) = Part::read(bytes, &header).unwrap();
        assert_eq!((first, rest.len()), (record, 12));
        assert_eq!(Part::read(rest, &header), Some((deleted, &[][..])));
        for end in (0..14).chain(15..bytes.len()) {
            let cut = Part::read(&bytes[..end], &header);
            assert!(cut.is_none_or(|(_, rest)| Part::read(rest, &header).is_none()), "{end}");
        }
    }
}
