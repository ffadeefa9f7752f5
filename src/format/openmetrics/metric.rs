//! The rules for one metric of an OpenMetrics body, whose lines are consecutive.

use crate::format::lex::{Flaw, Key, Lexed};
use crate::model::{Kind, Number, SeriesId};

/// The metric whose lines are being read.
#[derive(Debug)]
pub(super) struct Metric<'a> {
    pub(super) id: SeriesId,
    /// The labels of the previous line.
    pub(super) key: Key<'a>,
    /// The offset of the previous line in the body.
    pub(super) offset: usize,
    pub(super) total: bool,
    pub(super) created: bool,
    pub(super) count: Option<Number>,
    pub(super) sum: Option<f64>,
    last_bucket: Option<(f64, Number)>,
    negative_bound: bool,
}

impl<'a> Metric<'a> {
    pub(super) fn new(id: SeriesId, key: Key<'a>, offset: usize) -> Metric<'a> {
        Metric {
            id,
            key,
            offset,
            total: false,
            created: false,
            count: None,
            sum: None,
            last_bucket: None,
            negative_bound: false,
        }
    }

    /// Checks the next bucket.
    ///
    /// # Errors
    /// If bounds do not rise, or counts fall.
    #[inline]
    pub(super) fn bucket(&mut self, bound: f64, count: Number) -> Result<(), &'static str> {
        if let Some((last_bound, last_count)) = self.last_bucket {
            if bound <= last_bound {
                return Err("the bounds of buckets must rise from line to line");
            }
            if count < last_count {
                return Err("the counts of buckets must not fall (they are cumulative)");
            }
        }
        self.last_bucket = Some((bound, count));
        self.negative_bound |= bound < 0.0;
        Ok(())
    }

    /// Checks what is only known after the last line.
    pub(super) fn check(&self, kind: Kind) -> Lexed<()> {
        let wrong = match kind {
            Kind::Counter if !self.total => "a counter needs its \"_total\" sample",
            Kind::Histogram | Kind::GaugeHistogram => {
                let infinite = self.last_bucket.filter(|(bound, _)| *bound == f64::INFINITY);
                match infinite {
                    None => "a histogram needs a bucket with le=\"+Inf\"",
                    Some((_, all)) if self.count.is_some_and(|count| count != all) => {
                        "the count of a histogram must equal its bucket le=\"+Inf\""
                    }
                    Some(_) if self.count.is_some() != self.sum.is_some() => {
                        "a histogram needs both count and sum, or neither"
                    }
                    Some(_) if kind == Kind::Histogram && self.negative_bound => match self.sum {
                        None => return Ok(()),
                        Some(_) => "a histogram with negative bounds must not have a sum",
                    },
                    Some(_) if !self.negative_bound && self.sum.is_some_and(|sum| sum < 0.0) => {
                        "the sum must not be negative where no bound is"
                    }
                    Some(_) => return Ok(()),
                }
            }
            _ => return Ok(()),
        };
        Err(Flaw::new(self.offset, wrong))
    }
}
