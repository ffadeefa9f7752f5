//! Walks the fields of one message without decoding it: slices of the body, no copies.
//!
//! prost decodes whole messages, which is right for small ones. The three outer messages (family,
//! metric, label pair) are walked instead: a family may hold a million metrics, and holding them
//! all decoded would let 2 bytes of a body take hundreds of bytes of memory.

use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// Why bytes are no protobuf message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    /// prost's words, without the phrase that all of them begin with.
    #[error("{}", .0.to_string().trim_start_matches("failed to decode Protobuf message: "))]
    Decode(#[from] DecodeError),
    #[error("{field} has wire type {actual:?}, not {expected:?}")]
    WireType { field: &'static str, actual: WireType, expected: WireType },
    #[error("{field} says it has {length} bytes, but {left} are left")]
    Cut { field: &'static str, length: u64, left: usize },
}

/// What is left of a message.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

/// A field whose number is known and whose value is not read yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) number: u32,
    wire_type: WireType,
}

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Fields<'a> {
        Fields { rest: message }
    }

    /// The next field; its value must be taken (or skipped) before the one after it.
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

    /// A length and as many bytes, as they also stand in the stream of messages.
    pub(super) fn delimited(&mut self, field: &'static str) -> Result<&'a [u8], WireError> {
        let length = decode_varint(&mut self.rest)?;
        let cut = WireError::Cut { field, length, left: self.rest.len() };
        let at = usize::try_from(length).map_err(|_| cut.clone())?;
        let (value, rest) = self.rest.split_at_checked(at).ok_or(cut)?;
        self.rest = rest;
        Ok(value)
    }

    /// Steps over a field that is not known, groups included.
    pub(super) fn skip(&mut self, key: Key) -> Result<(), WireError> {
        skip_field(key.wire_type, key.number, &mut self.rest, DecodeContext::default())?;
        Ok(())
    }

    /// Bytes that are left.
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
