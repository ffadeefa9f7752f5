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

use super::full::{Classic, Counts, Full};
use super::{Form, Histogram, Layout, Packed};
use crate::merge::exact::Exact;
use crate::merge::native::Native;
use crate::merge::record::{pack_exemplar, unpack_exemplar};
use crate::model::packed::{Malformed, Packer, Unpacker};

impl Histogram {
    pub(in crate::merge) fn pack(&self, into: &mut Packer<'_>) {
        match &self.0 {
            Form::Packed(packed) => packed.pack(into),
            Form::Full(full) => full.pack(into),
        }
    }

    pub(in crate::merge) fn unpack(
        from: &mut Unpacker<'_>,
        layout: &mut dyn FnMut(&[f64]) -> Layout,
    ) -> Result<Histogram, Malformed> {
        let full = Full::unpack(from, layout)?;
        Ok(Histogram(match full.packed() {
            Some(packed) => Form::Packed(packed),
            None => Form::Full(Box::new(full)),
        }))
    }
}

impl Full {
    fn pack(&self, into: &mut Packer<'_>) {
        let Full { count, sum, classic, native } = self;
        count.pack(into);
        into.option(sum.as_ref(), |into, sum| sum.pack(into));
        into.option(classic.as_ref(), |into, classic| classic.pack(into));
        into.option(native.as_ref(), |into, native| native.pack(into));
    }

    fn unpack(
        from: &mut Unpacker<'_>,
        layout: &mut dyn FnMut(&[f64]) -> Layout,
    ) -> Result<Full, Malformed> {
        Ok(Full {
            count: Exact::unpack(from)?,
            sum: from.option(Exact::unpack)?,
            classic: from.option(|from| Classic::unpack(from, layout))?,
            native: from.option(Native::unpack)?.map(Box::new),
        })
    }

    /// The small form, if that can hold all of it.
    fn packed(&self) -> Option<Packed> {
        let Full { count, sum, classic: Some(classic), native: None } = self else { return None };
        let Counts::Int(own) = &classic.own else { return None };
        let packed = Packed::new(classic.bounds.clone(), sum.clone(), own.iter().copied())?;
        let is_all = count.whole_part() == Some((packed.count(), true));
        (is_all && classic.exemplars.is_empty()).then_some(packed)
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
        // A single NaN counts as sorted, so look for it separately.
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
