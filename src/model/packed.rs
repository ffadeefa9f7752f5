//! Plain values as bytes, for stored records. Small numbers take few bytes, and reading trusts nothing.
//!
//! Integers are varints of seven bits per byte, lowest first; signed ones fold their sign into bit 0.
//! Floats are their eight bytes, so that every NaN keeps its bits. Texts and lists begin with their
//! length.

/// What is wrong with some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// Appends to a buffer.
#[derive(Debug)]
pub struct Packer<'b>(pub &'b mut Vec<u8>);

impl Packer<'_> {
    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub fn u64(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub fn i64(&mut self, value: i64) {
        self.u64((value << 1 ^ value >> 63) as u64);
    }

    pub fn f64(&mut self, value: f64) {
        self.word(value.to_bits());
    }

    /// Always eight bytes.
    pub fn word(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub fn length(&mut self, length: usize) {
        self.u64(length as u64);
    }

    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// After their number, as for texts.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    /// A flag that says whether there is a value, and then the value.
    pub fn option<T>(&mut self, value: Option<T>, pack: impl FnOnce(&mut Self, T)) {
        self.u8(value.is_some().into());
        if let Some(value) = value {
            pack(self, value);
        }
    }
}

/// Reads what a [`Packer`] has written, from the front.
#[derive(Clone, Copy, Debug)]
pub struct Unpacker<'b>(pub &'b [u8]);

impl<'b> Unpacker<'b> {
    /// # Errors
    /// If nothing is left.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        let (&first, rest) = self.0.split_first().ok_or(CUT_OFF)?;
        self.0 = rest;
        Ok(first)
    }

    /// # Errors
    /// If it is cut off or has more than 64 bits.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && byte > 1 {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed("a number is too large"))
    }

    /// # Errors
    /// As [`u64`](Unpacker::u64), and if it has more than 32 bits.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.u64()?).map_err(|_| Malformed("a number is too large"))
    }

    /// # Errors
    /// As [`u64`](Unpacker::u64).
    pub fn i64(&mut self) -> Result<i64, Malformed> {
        let folded = self.u64()?;
        Ok((folded >> 1) as i64 ^ -((folded & 1) as i64))
    }

    /// # Errors
    /// If it is cut off.
    pub fn f64(&mut self) -> Result<f64, Malformed> {
        self.word().map(f64::from_bits)
    }

    /// # Errors
    /// If it is cut off.
    pub fn word(&mut self) -> Result<u64, Malformed> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(CUT_OFF)?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*bytes))
    }

    /// The number of things to come that take at least one byte each, so that no false claim can make
    /// memory grow.
    ///
    /// # Errors
    /// If there are not that many bytes left.
    pub fn length(&mut self) -> Result<usize, Malformed> {
        let length = usize::try_from(self.u64()?).map_err(|_| CUT_OFF)?;
        if length > self.0.len() { Err(CUT_OFF) } else { Ok(length) }
    }

    /// # Errors
    /// If it is cut off or not UTF-8.
    pub fn text(&mut self) -> Result<&'b str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed("a text is not UTF-8"))
    }

    /// # Errors
    /// If it is cut off.
    pub fn bytes(&mut self) -> Result<&'b [u8], Malformed> {
        let length = self.length()?;
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        Ok(bytes)
    }

    /// # Errors
    /// If the flag is invalid, or `unpack` fails.
    pub fn option<T>(
        &mut self,
        unpack: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        match self.u8()? {
            0 => Ok(None),
            1 => unpack(self).map(Some),
            _ => Err(Malformed("a flag is neither 0 nor 1")),
        }
    }

    /// # Errors
    /// If something is left.
    pub fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed("something follows the end")) }
    }
}

const CUT_OFF: Malformed = Malformed("it is cut off");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back() {
        let mut bytes = Vec::new();
        let mut packer = Packer(&mut bytes);
        let unsigned = [0, 1, 127, 128, 16_383, 16_384, 1 << 32, u64::MAX - 1, u64::MAX];
        let signed = [0, -1, 1, -64, 64, i64::MIN, i64::MAX];
        let nan = f64::from_bits(0x7ff8_0000_dead_beef);
        unsigned.iter().for_each(|&n| packer.u64(n));
        signed.iter().for_each(|&n| packer.i64(n));
        packer.f64(nan);
        packer.text("tälly");
        packer.option(Some(7), |packer, n| packer.u64(n));
        packer.option(None::<u64>, |packer, n| packer.u64(n));

        let mut unpacker = Unpacker(&bytes);
        assert!(unsigned.iter().all(|&n| unpacker.u64() == Ok(n)));
        assert!(signed.iter().all(|&n| unpacker.i64() == Ok(n)));
        assert_eq!(unpacker.f64().map(f64::to_bits), Ok(nan.to_bits()));
        assert_eq!(unpacker.text(), Ok("tälly"));
        assert_eq!(unpacker.option(Unpacker::u64), Ok(Some(7)));
        assert_eq!(unpacker.option(Unpacker::u64), Ok(None));
        assert_eq!(unpacker.end(), Ok(()));
    }

    #[test]
    fn what_is_no_value_is_refused() {
        let too_large: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2];
        let endless: &[u8] = &[0x80; 12];
        for bytes in [&[][..], &[0x80], too_large, endless] {
            assert!(Unpacker(bytes).u64().is_err(), "{bytes:?}");
        }
        assert!(Unpacker(&[0x80, 0x80, 0x80, 0x80, 0x10]).u32().is_err());
        assert!(Unpacker(&[0; 7]).word().is_err());
        assert!(Unpacker(&[3, b'a', b'b']).text().is_err());
        assert!(Unpacker(&[1, 0xff]).text().is_err());
        assert!(Unpacker(&[2, 0]).option(Unpacker::u8).is_err());
        assert!(Unpacker(&[0]).end().is_err());
    }
}
