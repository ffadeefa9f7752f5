//! The state of a series as bytes, and back. Every representation is stored as it is, so that a restart
//! changes no result.
//!
//! ```text
//! 0  total  exemplar?         sum
//! 1  value:8  stamp           last
//! 2  value:8                  min
//! 3  value:8                  max
//! 4  total  count             mean
//! 5  count  sum?              summary
//! 6  histogram
//! 7  histogram  stamp         last histogram
//! 8  n  (name  on) × n  stamp state set
//! 9                           info
//!
//! exemplar: labels  value:8  timestamp?
//! ```
//!
//! A form that changes gets a new number, and the old one stays readable.

use super::exact::Exact;
use super::histogram::{Histogram, Layout};
use super::{LastHistogram, Marked, Mean, State, StateSet, Summary};
use crate::model::packed::{Malformed, Packer, Unpacker};
use crate::model::{Exemplar, Kind};

impl State {
    pub fn pack(&self, into: &mut Packer<'_>) {
        match self {
            State::Sum(total) => {
                into.u8(0);
                total.pack(into);
                into.u8(0);
            }
            State::Marked(marked) => {
                into.u8(0);
                marked.total.pack(into);
                into.u8(1);
                pack_exemplar(&marked.exemplar, into);
            }
            State::Last { value, stamp } => {
                into.u8(1);
                into.f64(*value);
                into.i64(*stamp);
            }
            State::Min(value) => {
                into.u8(2);
                into.f64(*value);
            }
            State::Max(value) => {
                into.u8(3);
                into.f64(*value);
            }
            State::Mean(mean) => {
                into.u8(4);
                mean.total.pack(into);
                into.u64(mean.count);
            }
            State::Summary(summary) => {
                into.u8(5);
                summary.count.pack(into);
                into.option(summary.sum.as_ref(), |into, sum| sum.pack(into));
            }
            State::Histogram(histogram) => {
                into.u8(6);
                histogram.pack(into);
            }
            State::LastHistogram(last) => {
                into.u8(7);
                last.histogram.pack(into);
                into.i64(last.stamp);
            }
            State::StateSet(set) => {
                into.u8(8);
                into.length(set.states.len());
                for (name, on) in &set.states {
                    into.text(name);
                    into.u8((*on).into());
                }
                into.i64(set.stamp);
            }
            State::Info => into.u8(9),
        }
    }

    /// `layout` returns the shared list for some bucket bounds.
    ///
    /// # Errors
    /// If the bytes are not a valid state.
    pub fn unpack(
        from: &mut Unpacker<'_>,
        layout: &mut dyn FnMut(&[f64]) -> Layout,
    ) -> Result<State, Malformed> {
        Ok(match from.u8()? {
            0 => {
                let total = Exact::unpack(from)?;
                match from.option(unpack_exemplar)? {
                    None => State::Sum(total),
                    Some(exemplar) => State::Marked(Box::new(Marked { total, exemplar })),
                }
            }
            1 => State::Last { value: from.f64()?, stamp: from.i64()? },
            2 => State::Min(from.f64()?),
            3 => State::Max(from.f64()?),
            4 => State::Mean(Box::new(Mean { total: Exact::unpack(from)?, count: from.u64()? })),
            5 => {
                let (count, sum) = (Exact::unpack(from)?, from.option(Exact::unpack)?);
                State::Summary(Box::new(Summary { count, sum }))
            }
            6 => State::Histogram(Histogram::unpack(from, layout)?),
            7 => {
                let (histogram, stamp) = (Histogram::unpack(from, layout)?, from.i64()?);
                State::LastHistogram(Box::new(LastHistogram { histogram, stamp }))
            }
            8 => {
                let states = from.length()?;
                let state = |_| Ok((from.text()?.into(), from.u8()? != 0));
                let states = (0..states).map(state).collect::<Result<_, _>>()?;
                State::StateSet(Box::new(StateSet { states, stamp: from.i64()? }))
            }
            9 => State::Info,
            _ => return Err(Malformed("a state has an unknown form")),
        })
    }

    /// Whether series of this kind can have such a state.
    pub fn is_of(&self, kind: Kind) -> bool {
        match self {
            // A series that was created before the type of its family was known takes on the rule of
            // that type when it is next pushed.
            State::Sum(_) | State::Marked(_) | State::Last { .. } => {
                matches!(kind, Kind::Counter | Kind::Untyped | Kind::Gauge)
            }
            State::Min(_) | State::Max(_) | State::Mean(_) => kind == Kind::Gauge,
            State::Summary(_) => kind == Kind::Summary,
            State::Histogram(_) => matches!(kind, Kind::Histogram | Kind::GaugeHistogram),
            State::LastHistogram(_) => kind == Kind::GaugeHistogram,
            State::StateSet(_) => kind == Kind::StateSet,
            State::Info => kind == Kind::Info,
        }
    }
}

pub(super) fn pack_exemplar(exemplar: &Exemplar, into: &mut Packer<'_>) {
    into.text(&exemplar.labels);
    into.f64(exemplar.value);
    into.option(exemplar.timestamp_ms, Packer::i64);
}

pub(super) fn unpack_exemplar(from: &mut Unpacker<'_>) -> Result<Exemplar, Malformed> {
    Ok(Exemplar {
        labels: from.text()?.into(),
        value: from.f64()?,
        timestamp_ms: from.option(Unpacker::i64)?,
    })
}
