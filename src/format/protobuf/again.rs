//! A fast way to read a body that differs from an earlier one only in its values, like `text::again`:
//! what is between the values is compared, and only the values are read.
//!
//! A count takes more bytes when it grows, which makes the messages around it longer. Most of the time
//! none has grown, and everything is where it was. If not, a message around a count may begin with any
//! length, which is checked against where the message ends. All other lengths are compared as bytes.

use std::hash::{Hash, Hasher};

use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};

use super::{milliseconds, read_head, wire};
use crate::model::exposition::Place;
use crate::model::{Exposition, Kind, Number, SeriesId};

/// How deep messages are nested: family, metric, histogram, bucket.
const DEPTH: usize = 4;

/// What bodies that differ only in values have in common.
#[derive(Debug)]
pub struct Form {
    /// One of these bodies.
    body: Box<[u8]>,
    steps: Box<[Step]>,
    /// The steps that are values.
    values: Box<[Value]>,
}

/// A part of the body that is read. What is between it and the step before is compared.
#[derive(Clone, Copy, Debug)]
struct Step {
    start: u32,
    end: u32,
    then: Then,
}

#[derive(Debug)]
struct Value {
    step: Step,
    /// The start time in the body that the form was made from, if this is one.
    created_ms: Option<i64>,
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

/// Hashes what all bodies of the form have in common.
impl Hash for Form {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let mut at = 0;
        for step in &self.steps {
            self.body[at..step.start as usize].hash(hasher);
            step.then.hash(hasher);
            at = step.end as usize;
        }
    }
}

impl Form {
    /// The form of a body that was read into `exposition`, with timestamps refused. `None` if it
    /// contains anything that most programs do not send.
    pub fn of(body: &[u8], exposition: &Exposition) -> Option<Form> {
        // Positions are kept in 32 bits.
        u32::try_from(body.len()).ok()?;
        let mut survey = Survey { body, rest: body, ..Survey::default() };
        while !survey.rest.is_empty() {
            survey.enter(Part::Family)?;
        }
        if [survey.series, survey.buckets, survey.quantiles] != exposition.places()? {
            return None;
        }
        Some(survey.form())
    }

    /// Puts the values of `body` into `exposition`, into which a body of this form was read before.
    /// Returns false if `body` does not have this form; the exposition may then be used for another
    /// attempt, but for nothing else.
    ///
    /// The result is the same as that of [`super::parse`] with timestamps refused.
    pub fn read_again(&self, exposition: &mut Exposition, body: &[u8]) -> bool {
        self.read_in_place(exposition, body).is_some() || self.read(exposition, body).is_some()
    }

    /// The fast case: nothing has moved, so lengths need no checks of their own.
    fn read_in_place(&self, exposition: &mut Exposition, body: &[u8]) -> Option<()> {
        if body.len() != self.body.len() {
            return None;
        }
        let mut at = 0;
        for Value { step, created_ms } in &self.values {
            let (start, end) = (step.start as usize, step.end as usize);
            if body[at..start] != self.body[at..start] {
                return None;
            }
            at = end;
            let mut rest = &body[start..end];
            match step.then {
                Then::Double(place) => {
                    let value = f64::from_le_bytes(rest.try_into().ok()?);
                    exposition.refill(place, Number::Float(value));
                    continue;
                }
                Then::Varint(place) => {
                    let count = match *rest {
                        [count @ ..0x80] => count.into(),
                        _ => decode_varint(&mut rest).ok().filter(|_| rest.is_empty())?,
                    };
                    exposition.refill(place, Number::Int(count));
                }
                // Programs keep sending the same start time.
                Then::Created(series) if *rest == self.body[start..end] => {
                    exposition.refill_created(series, *created_ms);
                }
                Then::Created(series) => {
                    let created_ms = created(&mut rest)?;
                    if !rest.is_empty() {
                        return None;
                    }
                    exposition.refill_created(series, created_ms);
                }
                Then::Open | Then::Close | Then::End => return None,
            }
        }
        (body[at..] == self.body[at..]).then_some(())
    }

    fn read(&self, exposition: &mut Exposition, body: &[u8]) -> Option<()> {
        let (mut rest, mut at) = (body, 0);
        // For each open message, how many bytes of the body follow its end.
        let (mut ends, mut depth) = ([0; DEPTH], 0);
        for step in &self.steps {
            rest = rest.strip_prefix(&self.body[at..step.start as usize])?;
            at = step.end as usize;
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
                    let created_ms = created(&mut rest)?;
                    exposition.refill_created(series, created_ms);
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

/// Reads a start time and its length. The inner `None` stands for an invalid time.
fn created(rest: &mut &[u8]) -> Option<Option<i64>> {
    let length = decode_varint(rest).ok()?;
    let (time, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = after;
    Some(milliseconds(wire::Timestamp::decode(time).ok()?))
}

/// The messages that a survey enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Family,
    Metric(Kind),
    Counter,
    /// Or untyped: both have only a value.
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
    found: Vec<Step>,
    /// How many of these can change their length.
    varying: usize,
    /// How many there were so far.
    series: usize,
    buckets: usize,
    quantiles: usize,
}

impl Survey<'_> {
    fn at(&self) -> usize {
        self.body.len() - self.rest.len()
    }

    /// Walks through a message, starting at its length.
    fn enter(&mut self, part: Part) -> Option<()> {
        let (start, varying, opened) = (self.at(), self.varying, self.found.len());
        let length = decode_varint(&mut self.rest).ok()?;
        let from = self.at();
        let end = from.checked_add(usize::try_from(length).ok()?)?;
        self.note(start, from, Then::Open);
        self.fields(part, end)?;
        if self.at() != end {
            return None;
        }
        match self.varying > varying {
            true => self.note(end, end, Then::Close),
            // The message always has this length.
            false => _ = self.found.remove(opened),
        }
        Some(())
    }

    fn fields(&mut self, part: Part, end: usize) -> Option<()> {
        let kind = match part {
            // The type may come after the metrics.
            Part::Family => read_head(self.rest.get(..end - self.at())?).ok()?.kind,
            Part::Metric(kind) => kind,
            _ => Kind::Untyped,
        };
        let series = SeriesId::new(self.series);
        let (mut has_value, mut has_created) = (false, false);
        while self.at() < end {
            let (number, wire_type) = decode_key(&mut self.rest).ok()?;
            match (part, number, wire_type) {
                // Names, texts, and what identifies series and buckets.
                (Part::Family, 1 | 2 | 5, WireType::LengthDelimited)
                | (Part::Family, 3, WireType::Varint)
                | (Part::Metric(_), 1, WireType::LengthDelimited)
                | (Part::Quantile, 1, WireType::SixtyFourBit)
                | (Part::Bucket, 2, WireType::SixtyFourBit) => self.skip(wire_type)?,

                (Part::Family, 4, WireType::LengthDelimited) => {
                    self.enter(Part::Metric(kind))?;
                    self.series += 1;
                }
                // Only one: a second would be merged into the first.
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
        self.note(start, self.at(), then);
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

    fn note(&mut self, start: usize, end: usize, then: Then) {
        self.found.push(Step { start: start as u32, end: end as u32, then });
    }

    fn form(mut self) -> Form {
        let end = self.body.len();
        self.note(end, end, Then::End);
        let is_value = |step: &&Step| !matches!(step.then, Then::Open | Then::Close | Then::End);
        let value = |&step: &Step| {
            let mut time = &self.body[step.start as usize..step.end as usize];
            let has_time = matches!(step.then, Then::Created(_));
            Value { step, created_ms: has_time.then(|| created(&mut time).flatten()).flatten() }
        };
        let values = self.found.iter().filter(is_value).map(value).collect();
        Form { body: self.body.into(), steps: self.found.into(), values }
    }
}

/// The field of a metric that belongs to the type of its family.
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
