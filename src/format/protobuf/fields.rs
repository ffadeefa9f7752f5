//! Walks the fields of one message without decoding it: it returns slices of the body and copies
//! nothing.
//!
//! prost decodes whole messages, which suits small ones. The three outer messages (family, metric,
//! label pair) are walked instead: a family can have a million metrics, and if all were decoded, 2
//! bytes of a body could take hundreds of bytes of memory.

use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// Why bytes are not a valid protobuf message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    /// The message of prost, without the phrase that all of them begin with.
    #[error("{}", .0.to_string().trim_start_matches("failed to decode Protobuf message: "))]
    Decode(#[from] DecodeError),
    #[error("{field} has wire type {actual:?}, not {expected:?}")]
    WireType { field: &'static str, actual: WireType, expected: WireType },
    #[error("{field} says it has {length} bytes, but {left} are left")]
    Cut { field: &'static str, length: u64, left: usize },
}

/// The rest of a message.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

/// A field whose value has not been read yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) number: u32,
    wire_type: WireType,
}

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Fields<'a> {
        Fields { rest: message }
    }

    /// The next field. Its value must be read or skipped before the next call.
    pub(super) fn next(&mut self) -> Result<Option<Key>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (number, wire_type) = decode_key(&mut self.rest)?;
        Ok(Some(Key { number, wire_type }))
    }

    pub(super) fn varint(&mut self, key: Key, field: &'static str) -> Result<u64, WireError> {
        key.expect(WireType::Varint, field)?;
        Ok(decode_varint(&mut self.rest)?)
    }

    /// A string or an embedded message.
    pub(super) fn bytes(&mut self, key: Key, field: &'static str) -> Result<&'a [u8], WireError> {
        key.expect(WireType::LengthDelimited, field)?;
        self.delimited(field)
    }

    /// A length and that many bytes, which is also how messages follow each other in a stream.
    pub(super) fn delimited(&mut self, field: &'static str) -> Result<&'a [u8], WireError> {
        let length = decode_varint(&mut self.rest)?;
        let cut = WireError::Cut { field, length, left: self.rest.len() };
        let at = usize::try_from(length).map_err(|_| cut.clone())?;
        let (value, rest) = self.rest.split_at_checked(at).ok_or(cut)?;
        self.rest = rest;
        Ok(value)
    }

    /// Skips an unknown field, which may be a group.
    pub(super) fn skip(&mut self, key: Key) -> Result<(), WireError> {
        skip_field(key.wire_type, key.number, &mut self.rest, DecodeContext::default())?;
        Ok(())
    }

    /// How many bytes are left.
    pub(super) fn len(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

impl Key {
    fn expect(self, expected: WireType, field: &'static str) -> Result<(), WireError> {
        if self.wire_type == expected {
            Ok(())
        } else {
            Err(WireError::WireType { field, actual: self.wire_type, expected })
        }
    }
}
