//! Reads a value in Go's gob format. The stream first describes its types, and the value is read by that
//! description, so that no type number is taken for granted (pushgateway-contract 17).
//!
//! ```text
//! stream  = { length id content }         id < 0: content describes type -id; else a value of it
//! uint    = byte below 0x80 | -count, then as many bytes, the high one first
//! int     = uint: bit 0 is the sign
//! ```

use std::collections::HashMap;

/// A value of any type.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    /// Strings, byte strings, and values whose type writes itself in a form of its own.
    Bytes(&'a [u8]),
    List(Vec<Value<'a>>),
    Map(Vec<(Value<'a>, Value<'a>)>),
    /// Fields that are not zero, by name.
    Struct(Vec<(String, Value<'a>)>),
}

/// Why bytes cannot be read as a gob stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GobError {
    #[error("it ends in the middle")]
    Cut,
    #[error("a number has more than 64 bits")]
    Number,
    #[error("type {0} is used but not described")]
    UnknownType(i64),
    #[error("type {0} cannot be read: it is an interface or a complex number")]
    Unsupported(i64),
    #[error("types are nested more than {DEPTH_MAX} deep")]
    TooDeep,
    #[error("field {0} of a type is not known")]
    UnknownField(u64),
    #[error("there is no value in it")]
    NoValue,
    #[error("{0} bytes follow the value")]
    Trailing(usize),
    #[error("a message is longer than its content")]
    MessageLength,
}

const DEPTH_MAX: usize = 32;

#[derive(Clone, Debug)]
enum Type {
    List(i64),
    Array(i64),
    Map(i64, i64),
    Struct(Vec<(String, i64)>),
    /// A type that writes itself.
    Opaque,
}

/// The one value of a stream.
///
/// # Errors
/// If it is cut off or damaged, or contains something that is not supported.
pub fn read(stream: &[u8]) -> Result<Value<'_>, GobError> {
    let mut types: HashMap<i64, Type> = HashMap::new();
    let mut rest = Input(stream);
    while !rest.0.is_empty() {
        let length = rest.length()?;
        let mut message = Input(rest.take(length)?);
        let id = message.int()?;
        if id < 0 {
            let described = message.description()?;
            types.insert(id.checked_neg().ok_or(GobError::Number)?, described);
        } else {
            // A value that is not a struct follows a zero.
            if !matches!(types.get(&id), Some(Type::Struct(_))) && message.byte()? != 0 {
                return Err(GobError::NoValue);
            }
            let value = message.value(id, &types, 0)?;
            if !message.0.is_empty() {
                return Err(GobError::MessageLength);
            }
            return match rest.0.len() {
                0 => Ok(value),
                more => Err(GobError::Trailing(more)),
            };
        }
        if !message.0.is_empty() {
            return Err(GobError::MessageLength);
        }
    }
    Err(GobError::NoValue)
}

impl<'a> Value<'a> {
    /// A field of a struct.
    pub fn field(&self, name: &str) -> Option<&Value<'a>> {
        let Value::Struct(fields) = self else { return None };
        fields.iter().find(|(field, _)| field == name).map(|(_, value)| value)
    }

    /// The entries of a map.
    pub fn entries(&self) -> Option<&[(Value<'a>, Value<'a>)]> {
        match self {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    pub fn bytes(&self) -> Option<&'a [u8]> {
        match self {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}

/// What is left to read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], GobError> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(GobError::Cut)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, GobError> {
        Ok(self.take(1)?[0])
    }

    fn uint(&mut self) -> Result<u64, GobError> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(first.into());
        }
        let bytes = usize::from(first.wrapping_neg());
        if bytes > 8 {
            return Err(GobError::Number);
        }
        Ok(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn int(&mut self) -> Result<i64, GobError> {
        let bits = self.uint()?;
        let number = (bits >> 1) as i64;
        Ok(if bits & 1 == 1 { !number } else { number })
    }

    /// A length. Everything takes at least one byte, so it cannot exceed what is left.
    fn length(&mut self) -> Result<usize, GobError> {
        let length = usize::try_from(self.uint()?).map_err(|_| GobError::Number)?;
        if length > self.0.len() { Err(GobError::Cut) } else { Ok(length) }
    }

    fn bytes(&mut self) -> Result<&'a [u8], GobError> {
        let length = self.length()?;
        self.take(length)
    }

    /// Calls `field` with the number of each field, from 0, until the struct ends.
    fn fields(
        &mut self,
        mut field: impl FnMut(&mut Input<'a>, u64) -> Result<(), GobError>,
    ) -> Result<(), GobError> {
        let mut next = 0_u64;
        loop {
            match self.uint()? {
                0 => return Ok(()),
                delta => {
                    next = next.checked_add(delta).ok_or(GobError::Number)?;
                    field(self, next - 1)?;
                }
            }
        }
    }

    /// A type, described by types that are fixed.
    fn description(&mut self) -> Result<Type, GobError> {
        let mut described = Type::Opaque;
        self.fields(|input, kind| {
            let (mut first, mut second) = (0, 0);
            let mut fields = Vec::new();
            input.fields(|input, at| match (kind, at) {
                // Name and number of the type itself.
                (_, 0) => input.fields(|input, at| match at {
                    0 => input.bytes().map(|_name| ()),
                    _ => input.int().map(|_number| ()),
                }),
                (2, 1) => {
                    for _ in 0..input.length()? {
                        fields.push(input.field_description()?);
                    }
                    Ok(())
                }
                (_, 1) => input.int().map(|id| first = id),
                (_, 2) => input.int().map(|id| second = id),
                (_, at) => Err(GobError::UnknownField(at)),
            })?;
            described = match kind {
                0 => Type::Array(first),
                1 => Type::List(first),
                2 => Type::Struct(std::mem::take(&mut fields)),
                3 => Type::Map(first, second),
                4..=6 => Type::Opaque,
                kind => return Err(GobError::UnknownField(kind)),
            };
            Ok(())
        })?;
        Ok(described)
    }

    fn field_description(&mut self) -> Result<(String, i64), GobError> {
        let (mut name, mut id) = (String::new(), 0);
        self.fields(|input, at| {
            match at {
                0 => name = String::from_utf8_lossy(input.bytes()?).into_owned(),
                1 => id = input.int()?,
                at => return Err(GobError::UnknownField(at)),
            }
            Ok(())
        })?;
        Ok((name, id))
    }

    fn value(
        &mut self,
        id: i64,
        types: &HashMap<i64, Type>,
        depth: usize,
    ) -> Result<Value<'a>, GobError> {
        if depth > DEPTH_MAX {
            return Err(GobError::TooDeep);
        }
        let depth = depth + 1;
        match id {
            1 => return Ok(Value::Bool(self.uint()? != 0)),
            2 => return Ok(Value::Int(self.int()?)),
            3 => return Ok(Value::Uint(self.uint()?)),
            4 => return Ok(Value::Float(f64::from_bits(self.uint()?.swap_bytes()))),
            5 | 6 => return Ok(Value::Bytes(self.bytes()?)),
            7 | 8 => return Err(GobError::Unsupported(id)),
            _ => {}
        }
        match types.get(&id).ok_or(GobError::UnknownType(id))? {
            Type::Opaque => Ok(Value::Bytes(self.bytes()?)),
            Type::List(elements) | Type::Array(elements) => {
                let length = self.length()?;
                let list = (0..length).map(|_| self.value(*elements, types, depth));
                Ok(Value::List(list.collect::<Result<_, _>>()?))
            }
            Type::Map(key, element) => {
                let entries = (0..self.length()?).map(|_| {
                    Ok((self.value(*key, types, depth)?, self.value(*element, types, depth)?))
                });
                Ok(Value::Map(entries.collect::<Result<_, GobError>>()?))
            }
            Type::Struct(fields) => {
                let mut values = Vec::new();
                self.fields(|input, at| {
                    let field = usize::try_from(at).ok().and_then(|at| fields.get(at));
                    let (name, id) = field.ok_or(GobError::UnknownField(at))?;
                    values.push((name.clone(), input.value(*id, types, depth)?));
                    Ok(())
                })?;
                Ok(Value::Struct(values))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gob of `map[string]int{"a": -3}`: a description of type 65, then the value.
    const MAP: &[u8] = &[
        0x0d, 0x7f, 0x04, 0x01, 0x02, 0xff, 0x80, 0x00, 0x01, 0x0c, 0x01, 0x04, 0x00, 0x00, //
        0x07, 0xff, 0x80, 0x00, 0x01, 0x01, b'a', 0x05,
    ];

    #[test]
    fn a_map_is_read_by_its_description() {
        let expected = Value::Map(vec![(Value::Bytes(b"a"), Value::Int(-3))]);
        assert_eq!(read(MAP), Ok(expected));
    }

    #[test]
    fn every_cut_and_every_addition_is_found() {
        for end in 0..MAP.len() {
            assert!(read(&MAP[..end]).is_err(), "{end}");
        }
        assert_eq!(read(&[MAP, &[0]].concat()), Err(GobError::Trailing(1)));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (stream, error) in [
            (&[][..], GobError::NoValue),
            (&[0x05, 0x02, 0x00, 0x00][..], GobError::Cut),
            (&[0x03, 0xff, 0x80, 0x00][..], GobError::UnknownType(64)),
            (&[0xf0][..], GobError::Number),
            (&[0x02, 0x10, 0x00][..], GobError::Unsupported(8)),
            (&[0x02, 0x04, 0x01][..], GobError::NoValue),
            // A list that claims to be long.
            (&[0x03, 0x0a, 0x00, 0x7f][..], GobError::Cut),
        ] {
            assert_eq!(read(stream), Err(error), "{stream:x?}");
        }
    }

    #[test]
    fn numbers() {
        for (bytes, number) in [
            (&[0x00][..], 0),
            (&[0x7f][..], 127),
            (&[0xff, 0x80][..], 128),
            (&[0xfe, 0x01, 0x00][..], 256),
            (&[0xf8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..], u64::MAX),
        ] {
            assert_eq!(Input(bytes).uint(), Ok(number));
        }
        assert_eq!(Input(&[0x05]).int(), Ok(-3));
        assert_eq!(Input(&[0x06]).int(), Ok(3));
    }
}
