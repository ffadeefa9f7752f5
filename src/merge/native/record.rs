//! Native buckets as bytes.
//!
//! ```text
//! count  schema  zero_threshold:8  thresholds_differ  zero
//! n  (index  count) × n       positive
//! n  (index  count) × n       negative
//! n  exemplar × n
//! ```

use super::{Buckets, EXEMPLARS_MAX, MAX_SCHEMA, MIN_SCHEMA, Native, Side};
use crate::merge::exact::Exact;
use crate::merge::record::{pack_exemplar, unpack_exemplar};
use crate::model::packed::{Malformed, Packer, Unpacker};

impl Native {
    pub(in crate::merge) fn pack(&self, into: &mut Packer<'_>) {
        let Native { count, buckets, thresholds_differ, exemplars } = self;
        let Buckets { schema, zero_threshold, zero, positive, negative } = buckets;
        count.pack(into);
        into.i64((*schema).into());
        into.f64(*zero_threshold);
        into.u8((*thresholds_differ).into());
        zero.pack(into);
        for side in [positive, negative] {
            into.length(side.len());
            for (&index, count) in side {
                into.i64(index.into());
                count.pack(into);
            }
        }
        into.length(exemplars.len());
        exemplars.iter().for_each(|exemplar| pack_exemplar(exemplar, into));
    }

    pub(in crate::merge) fn unpack(from: &mut Unpacker<'_>) -> Result<Native, Malformed> {
        let count = Exact::unpack(from)?;
        let schema = i8::try_from(from.i64()?).ok();
        let schema = schema.filter(|schema| (MIN_SCHEMA..=MAX_SCHEMA).contains(schema));
        let schema = schema.ok_or(Malformed("an unknown schema"))?;
        let zero_threshold = from.f64()?;
        if !(zero_threshold >= 0.0 && zero_threshold.is_finite()) {
            return Err(Malformed("an impossible zero threshold"));
        }
        let thresholds_differ = from.u8()? != 0;
        let zero = Exact::unpack(from)?;
        let (positive, negative) = (unpack_side(from)?, unpack_side(from)?);
        let exemplars = from.length()?;
        if exemplars > EXEMPLARS_MAX {
            return Err(Malformed("too many exemplars"));
        }
        let exemplars = (0..exemplars).map(|_| unpack_exemplar(from)).collect::<Result<_, _>>()?;
        let buckets = Buckets { schema, zero_threshold, zero, positive, negative };
        Ok(Native { count, buckets, thresholds_differ, exemplars })
    }
}

fn unpack_side(from: &mut Unpacker<'_>) -> Result<Side, Malformed> {
    let buckets = from.length()?;
    (0..buckets)
        .map(|_| {
            let index = i32::try_from(from.i64()?);
            Ok((index.map_err(|_| Malformed("an impossible bucket"))?, Exact::unpack(from)?))
        })
        .collect()
}
