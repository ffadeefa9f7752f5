//! Reading a body that says the same as one before, but for its values, as `text::again` does: what
//! stands between the values is compared, and only they are read.
//!
//! A count takes more bytes when it grows, and then the messages around it are longer. So where such
//! a message begins any length may stand, and where it ends is compared with that. All other lengths
//! are compared as the bytes that they are.

use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};

use super::{milliseconds, read_head, wire};
use crate::model::exposition::Place;
use crate::model::{Exposition, Kind, Number, SeriesId};

/// Messages within each other: family, metric, histogram, bucket.
const DEPTH: usize = 4;

/// What bodies have in common that differ in their values only.
#[derive(Debug, Hash)]
pub struct Form {
    steps: Box<[Step]>,
    /// What is compared, one after the other.
    fixed: Box<[u8]>,
}

/// So many bytes to compare, and then this.
#[derive(Debug, Hash)]
struct Step {
    fixed: u32,
    then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Then {
    /// A number of 8 bytes.
    Double(Place),
    /// A whole number.
    Varint(Place),
    /// A start time with its length.
    Created(SeriesId),
    /// The length of a message that [`Then::Close`] ends.
    Open,
    Close,
    /// The body ends.
    End,
}

impl Form {
    /// The form of a body that was read into `exposition`, with timestamps refused. `None` if there
    /// is anything in it besides what most programs send.
    pub fn of(body: &[u8], exposition: &Exposition) -> Option<Form> {
        let mut survey = Survey { body, rest: body, ..Survey::default() };
        while !survey.rest.is_empty() {
            survey.enter(Part::Family)?;
        }
        if [survey.series, survey.buckets, survey.quantiles] != exposition.places()? {
            return None;
        }
        Some(survey.form())
    }

    /// Puts the values of `body` into `exposition`, which is what a body of this form was read into.
    /// False if it is not of this form; the exposition is then as good as before for another attempt,
    /// and for nothing else.
    ///
    /// What it makes of a body is what [`super::parse`] makes of it with timestamps refused.
    pub fn read_again(&self, exposition: &mut Exposition, body: &[u8]) -> bool {
        self.read(exposition, body).is_some()
    }

    fn read(&self, exposition: &mut Exposition, body: &[u8]) -> Option<()> {
        let (mut rest, mut fixed) = (body, &*self.fixed);
        // How much of the body is left at the end of each message that is open.
        let (mut ends, mut depth) = ([0; DEPTH], 0);
        for step in &self.steps {
            let (expected, later) = fixed.split_at_checked(step.fixed as usize)?;
            fixed = later;
            rest = rest.strip_prefix(expected)?;
            match step.then {
                Then::Double(place) => {
                    let (bytes, after) = rest.split_first_chunk()?;
                    rest = after;
                    exposition.refill(place, Number::Float(f64::from_le_bytes(*bytes)));
                }
                Then::Varint(place) => {
                    exposition.refill(place, Number::Int(decode_varint(&mut rest).ok()?));
                }
                Then::Created(series) => {
                    let length = decode_varint(&mut rest).ok()?;
                    let (time, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                    rest = after;
                    let created = milliseconds(wire::Timestamp::decode(time).ok()?);
                    exposition.refill_created(series, created);
                }
                Then::Open => {
                    let length = decode_varint(&mut rest).ok()?;
                    *ends.get_mut(depth)? =
                        rest.len().checked_sub(usize::try_from(length).ok()?)?;
                    depth += 1;
                }
                Then::Close => {
                    depth -= 1;
                    if rest.len() != ends[depth] {
                        return None;
                    }
                }
                Then::End => return rest.is_empty().then_some(()),
            }
        }
        None
    }
}

/// Messages that are looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Family,
    Metric(Kind),
    Counter,
    /// Or untyped: both have nothing but a value.
    Gauge,
    Summary,
    Quantile,
    Histogram,
    Bucket,
}

/// A walk over a body that was accepted.
#[derive(Debug, Default)]
struct Survey<'b> {
    body: &'b [u8],
    rest: &'b [u8],
    /// In the order of the body.
    found: Vec<Found>,
    /// So many of them are of no fixed length.
    varying: usize,
    /// So far.
    series: usize,
    buckets: usize,
    quantiles: usize,
}

/// A part of the body that is not compared.
#[derive(Debug)]
struct Found {
    start: usize,
    end: usize,
    then: Then,
}

impl Survey<'_> {
    fn at(&self) -> usize {
        self.body.len() - self.rest.len()
    }

    /// Goes through a message, beginning with its length.
    fn enter(&mut self, part: Part) -> Option<()> {
        let (start, varying, opened) = (self.at(), self.varying, self.found.len());
        let length = decode_varint(&mut self.rest).ok()?;
        let from = self.at();
        let end = from.checked_add(usize::try_from(length).ok()?)?;
        self.found.push(Found { start, end: from, then: Then::Open });
        self.fields(part, end)?;
        if self.at() != end {
            return None;
        }
        match self.varying > varying {
            true => self.found.push(Found { start: end, end, then: Then::Close }),
            // It is always as long as here.
            false => _ = self.found.remove(opened),
        }
        Some(())
    }

    fn fields(&mut self, part: Part, end: usize) -> Option<()> {
        let kind = match part {
            // It may stand behind the metrics.
            Part::Family => read_head(self.rest.get(..end - self.at())?).ok()?.kind,
            Part::Metric(kind) => kind,
            _ => Kind::Untyped,
        };
        let series = SeriesId::new(self.series);
        let (mut has_value, mut has_created) = (false, false);
        while self.at() < end {
            let (number, wire_type) = decode_key(&mut self.rest).ok()?;
            match (part, number, wire_type) {
                // Names, texts, and what tells series and buckets apart.
                (Part::Family, 1 | 2 | 5, WireType::LengthDelimited)
                | (Part::Family, 3, WireType::Varint)
                | (Part::Metric(_), 1, WireType::LengthDelimited)
                | (Part::Quantile, 1, WireType::SixtyFourBit)
                | (Part::Bucket, 2, WireType::SixtyFourBit) => self.skip(wire_type)?,

                (Part::Family, 4, WireType::LengthDelimited) => {
                    self.enter(Part::Metric(kind))?;
                    self.series += 1;
                }
                // A second one would be merged into the first.
                (Part::Metric(_), number, WireType::LengthDelimited) if !has_value => {
                    self.enter(value_in(kind, number)?)?;
                    has_value = true;
                }
                (Part::Histogram, 3, WireType::LengthDelimited) => {
                    self.enter(Part::Bucket)?;
                    self.buckets += 1;
                }
                (Part::Summary, 3, WireType::LengthDelimited) => {
                    self.enter(Part::Quantile)?;
                    self.quantiles += 1;
                }

                (Part::Counter | Part::Gauge, 1, WireType::SixtyFourBit) => {
                    self.find(wire_type, Then::Double(Place::Scalar(series)))?;
                }
                (Part::Summary | Part::Histogram, 1, WireType::Varint) => {
                    self.find(wire_type, Then::Varint(Place::Count(series)))?;
                }
                (Part::Summary | Part::Histogram, 2, WireType::SixtyFourBit) => {
                    self.find(wire_type, Then::Double(Place::Sum(series)))?;
                }
                (Part::Quantile, 2, WireType::SixtyFourBit) => {
                    self.find(wire_type, Then::Double(Place::Quantile(self.quantiles as u32)))?;
                }
                (Part::Bucket, 1, WireType::Varint) => {
                    self.find(wire_type, Then::Varint(Place::Bucket(self.buckets as u32)))?;
                }
                (Part::Counter, 3, WireType::LengthDelimited)
                | (Part::Summary, 4, WireType::LengthDelimited)
                | (Part::Histogram, 15, WireType::LengthDelimited)
                    if !has_created =>
                {
                    self.find(wire_type, Then::Created(series))?;
                    has_created = true;
                }
                _ => return None,
            }
        }
        Some(())
    }

    fn find(&mut self, wire_type: WireType, then: Then) -> Option<()> {
        let start = self.at();
        self.skip(wire_type)?;
        self.found.push(Found { start, end: self.at(), then });
        self.varying += usize::from(!matches!(then, Then::Double(_)));
        Some(())
    }

    fn skip(&mut self, wire_type: WireType) -> Option<()> {
        let length = match wire_type {
            WireType::SixtyFourBit => 8,
            WireType::Varint => {
                decode_varint(&mut self.rest).ok()?;
                0
            }
            _ => usize::try_from(decode_varint(&mut self.rest).ok()?).ok()?,
        };
        self.rest = self.rest.get(length..)?;
        Some(())
    }

    fn form(self) -> Form {
        let end = self.body.len();
        let (mut fixed, mut at) = (Vec::with_capacity(end), 0);
        let found = self.found.into_iter().chain([Found { start: end, end, then: Then::End }]);
        let steps = found.map(|Found { start, end, then }| {
            let before = &self.body[at..start];
            fixed.extend_from_slice(before);
            at = end;
            Step { fixed: before.len() as u32, then }
        });
        Form { steps: steps.collect(), fixed: fixed.into() }
    }
}

/// The field of a metric that the type of its family asks for.
fn value_in(kind: Kind, number: u32) -> Option<Part> {
    match (kind, number) {
        (Kind::Gauge, 2) | (Kind::Untyped, 5) => Some(Part::Gauge),
        (Kind::Counter, 3) => Some(Part::Counter),
        (Kind::Summary, 4) => Some(Part::Summary),
        (Kind::Histogram | Kind::GaugeHistogram, 7) => Some(Part::Histogram),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
