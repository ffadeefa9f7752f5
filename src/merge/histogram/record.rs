//! Histograms as bytes.
//!
//! ```text
//! count  sum?  classic?  native?
//!
//! classic:
//! n  bound:8 × n
//! 0  count × (n+1)            own counts, all of them integers
//! 1  exact × (n+1)            the same otherwise
//! m  exemplar? × m            m is 0 or n+1
//! ```

use super::{Classic, Counts, Histogram, Layout};
use crate::merge::exact::Exact;
use crate::merge::native::Native;
use crate::merge::record::{pack_exemplar, unpack_exemplar};
use crate::model::packed::{Malformed, Packer, Unpacker};

impl Histogram {
    pub(in crate::merge) fn pack(&self, into: &mut Packer<'_>) {
        let Histogram { count, sum, classic, native } = self;
        count.pack(into);
        into.option(sum.as_ref(), |into, sum| sum.pack(into));
        into.option(classic.as_ref(), |into, classic| classic.pack(into));
        into.option(native.as_ref(), |into, native| native.pack(into));
    }

    pub(in crate::merge) fn unpack(
        from: &mut Unpacker<'_>,
        layout: &mut dyn FnMut(&[f64]) -> Layout,
    ) -> Result<Histogram, Malformed> {
        Ok(Histogram {
            count: Exact::unpack(from)?,
            sum: from.option(Exact::unpack)?,
            classic: from.option(|from| Classic::unpack(from, layout))?.map(Box::new),
            native: from.option(Native::unpack)?.map(Box::new),
        })
    }
}

impl Classic {
    fn pack(&self, into: &mut Packer<'_>) {
        let Classic { bounds, own, exemplars } = self;
        into.length(bounds.len());
        bounds.iter().for_each(|&bound| into.f64(bound));
        match own {
            Counts::Int(own) => {
                into.u8(0);
                own.iter().for_each(|&count| into.u64(count));
            }
            Counts::Exact(own) => {
                into.u8(1);
                own.iter().for_each(|count| count.pack(into));
            }
        }
        into.length(exemplars.len());
        for exemplar in exemplars {
            into.option(exemplar.as_deref(), |into, exemplar| pack_exemplar(exemplar, into));
        }
    }

    fn unpack(
        from: &mut Unpacker<'_>,
        layout: &mut dyn FnMut(&[f64]) -> Layout,
    ) -> Result<Classic, Malformed> {
        let bounds = from.length()?;
        let bounds = (0..bounds).map(|_| from.f64()).collect::<Result<Vec<_>, _>>()?;
        // Not sorted also if one of them is NaN.
        if !bounds.is_sorted_by(|a, b| a < b) || bounds.iter().any(|b| b.is_nan()) {
            return Err(Malformed("bucket bounds do not rise"));
        }
        if bounds.last() == Some(&f64::INFINITY) {
            return Err(Malformed("an infinite bound where none is kept"));
        }
        let buckets = bounds.len() + 1;
        let own = match from.u8()? {
            0 => Counts::Int((0..buckets).map(|_| from.u64()).collect::<Result<_, _>>()?),
            1 => {
                Counts::Exact((0..buckets).map(|_| Exact::unpack(from)).collect::<Result<_, _>>()?)
            }
            _ => return Err(Malformed("counts have an unknown form")),
        };
        let exemplars = from.length()?;
        if exemplars != 0 && exemplars != buckets {
            return Err(Malformed("exemplars do not fit the buckets"));
        }
        let exemplars = (0..exemplars)
            .map(|_| Ok(from.option(unpack_exemplar)?.map(Box::new)))
            .collect::<Result<_, _>>()?;
        Ok(Classic { bounds: layout(&bounds), own, exemplars })
    }
}
