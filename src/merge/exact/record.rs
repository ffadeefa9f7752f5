//! Exact sums as bytes: each representation as it is.
//!
//! ```text
//! 0  sum                      integer
//! 1  high  low:8              fixed point
//! 2  low  n  limb:8 × n       wide
//! ```

use super::{Exact, Repr, ZERO_LIMB};
use crate::model::packed::{Malformed, Packer, Unpacker};

/// More limbs than the sums of any number of pushes need.
const LIMBS_MAX: usize = 40;

impl Exact {
    pub(in crate::merge) fn pack(&self, into: &mut Packer<'_>) {
        match &self.0 {
            Repr::Int(sum) => {
                into.u8(0);
                into.i64(*sum);
            }
            Repr::Fixed { high, low } => {
                into.u8(1);
                into.i64(*high);
                into.word(*low);
            }
            Repr::Wide { low, limbs } => {
                into.u8(2);
                into.u8(*low);
                into.length(limbs.len());
                limbs.iter().for_each(|&limb| into.word(limb));
            }
        }
    }

    pub(in crate::merge) fn unpack(from: &mut Unpacker<'_>) -> Result<Exact, Malformed> {
        Ok(Exact(match from.u8()? {
            0 => Repr::Int(from.i64()?),
            1 => Repr::Fixed { high: from.i64()?, low: from.word()? },
            2 => {
                let low = from.u8()?;
                let limbs = from.length()?;
                let end = usize::from(low) + limbs;
                // A window starts out as that of a fixed-point sum and only ever widens.
                if usize::from(low) >= ZERO_LIMB || end <= ZERO_LIMB || end > LIMBS_MAX {
                    return Err(Malformed("a sum has impossible limbs"));
                }
                let limbs = (0..limbs).map(|_| from.word()).collect::<Result<_, _>>()?;
                Repr::Wide { low, limbs }
            }
            _ => return Err(Malformed("a sum has an unknown form")),
        }))
    }
}
