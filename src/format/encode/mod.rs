//! Writes expositions piece by piece: a scrape of a million series is never in memory as a whole.
//!
//! ```text
//! heads of all families ──▶ Plan: what is each called and typed in this format, which clash?
//!                             │
//! for each family:  begin_family(plan.get(i))
//!                     series(labels, reading) …      appends to a buffer the caller drains
//!                   end_family
//! finish
//! ```
//!
//! Whatever the store accepted becomes a readable exposition in every format. What a format cannot
//! express is written as the nearest thing that it can (formats 7). Series that escaping makes equal to
//! another are left out and counted. The order is the caller's: families by name, and series by label
//! text.

mod labels;
mod lines;
mod openmetrics;
mod plan;
mod protobuf;
mod text;

pub use openmetrics::fits as fits_openmetrics;
pub use plan::{Decision, Family, Plan, Planned};

use self::labels::{LabelFinder, has_label_named};
use super::escaping::Escaping;
use super::negotiate::Format;
use crate::model::Reading;

/// What a scraper asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub format: Format,
    pub escaping: Escaping,
    /// OpenMetrics only: write start times as `_created` lines. Off by default, because readers that do
    /// not know these lines turn each into a series.
    pub created_lines: bool,
}

/// Canonical label text in pieces, some of which may be empty.
pub type Pieces<'a> = [&'a [u8]; 3];

/// One scrape, or a part of one.
#[derive(Debug)]
pub struct Encoder {
    format: Writer,
    names: labels::SeriesNames,
    le: LabelFinder,
    quantile: LabelFinder,
    /// No series of the open family has a label that is reserved for its samples.
    free: bool,
    /// A buffer to join label text that comes in pieces.
    labels: Vec<u8>,
    series_left_out: usize,
}

#[derive(Debug)]
enum Writer {
    Text(Box<text::Encoder>),
    OpenMetrics(Box<openmetrics::Encoder>),
    Protobuf(Box<protobuf::Encoder>),
}

impl Writer {
    /// The label for the states of the open family, if it is a stateset.
    fn state_label(&self) -> &str {
        match self {
            Writer::Text(text) => &text.state_label,
            Writer::OpenMetrics(openmetrics) => &openmetrics.state_label,
            Writer::Protobuf(protobuf) => &protobuf.state_label,
        }
    }
}

impl Encoder {
    pub fn new(options: Options) -> Encoder {
        let format = match options.format {
            Format::Text004 | Format::Text100 => Writer::Text(Box::new(text::Encoder::new())),
            Format::OpenMetrics001 | Format::OpenMetrics100 => {
                Writer::OpenMetrics(Box::new(openmetrics::Encoder::new(options)))
            }
            Format::ProtobufDelimited => {
                Writer::Protobuf(Box::new(protobuf::Encoder::new(options.escaping)))
            }
        };
        Encoder {
            format,
            names: labels::SeriesNames::new(options.escaping),
            le: LabelFinder::new("le=\""),
            quantile: LabelFinder::new("quantile=\""),
            free: false,
            labels: Vec::new(),
            series_left_out: 0,
        }
    }

    /// Starts a family; its head is written with the first series, so that a family without series
    /// leaves no trace.
    pub fn begin_family(&mut self, family: &Planned<'_>) {
        self.open(family, true);
    }

    /// Starts a family whose head is in an earlier part of the scrape, which another encoder with the
    /// same options has written. Only for families that are [divisible](Planned::is_divisible). Series
    /// that escaping makes equal are detected only within one part.
    pub fn continue_family(&mut self, family: &Planned<'_>) {
        self.open(family, false);
    }

    /// Says whether all label names of the open family are plain, so that none needs quotes. With the
    /// default escaping, they are then not looked at one by one.
    pub fn names_are_plain(&mut self, plain: bool) {
        self.names.skip(plain);
    }

    /// Says whether no series of the open family has a label that its samples need (`le`, `quantile`).
    /// If so, there is no need to search for one.
    pub fn names_are_free(&mut self, free: bool) {
        self.free = free;
    }

    fn open(&mut self, family: &Planned<'_>, head: bool) {
        self.names.begin_family();
        self.free = false;
        match &mut self.format {
            Writer::Text(text) => text.open(family, head),
            Writer::OpenMetrics(openmetrics) => openmetrics.open(family, head),
            Writer::Protobuf(protobuf) => protobuf.open(family),
        }
    }

    /// As [`Encoder::series`], with label text in pieces.
    pub fn series_in_pieces(
        &mut self,
        out: &mut Vec<u8>,
        labels: Pieces<'_>,
        reading: &Reading<'_>,
        created_ms: Option<i64>,
    ) {
        let is_looked_at = match reading {
            Reading::Histogram(_) | Reading::Summary { .. } => !self.free,
            Reading::StateSet(_) => true,
            Reading::Counter { .. } | Reading::Gauge(_) | Reading::Untyped(_) => false,
        };
        if self.names.stay() && !is_looked_at {
            match &mut self.format {
                Writer::Text(text) => return text.series(out, labels, reading),
                Writer::OpenMetrics(openmetrics) => {
                    return openmetrics.series(out, labels, reading, created_ms);
                }
                Writer::Protobuf(_) => {}
            }
        }
        let mut whole = std::mem::take(&mut self.labels);
        whole.clear();
        labels.iter().for_each(|piece| whole.extend_from_slice(piece));
        self.series(out, &whole, reading, created_ms);
        self.labels = whole;
    }

    /// Appends one series of the open family. `labels` is canonical label text (see
    /// [`crate::model::labels`]), without those that belong to the reading (`le`, `quantile`, the
    /// state).
    pub fn series(
        &mut self,
        out: &mut Vec<u8>,
        labels: &[u8],
        reading: &Reading<'_>,
        created_ms: Option<i64>,
    ) {
        // A label of both the series and its samples: no format can express that.
        let reserved = match reading {
            Reading::Histogram(_) => !self.free && self.le.is_in(labels),
            Reading::Summary { .. } => !self.free && self.quantile.is_in(labels),
            _ => false,
        };
        if reserved {
            self.series_left_out += 1;
            return;
        }
        let Some(labels) = self.names.series(labels) else {
            self.series_left_out += 1;
            return;
        };
        if matches!(reading, Reading::StateSet(_))
            && has_label_named(labels, self.format.state_label())
        {
            self.series_left_out += 1;
            return;
        }
        let pieces = [labels, &[], &[]];
        match &mut self.format {
            Writer::Text(text) => text.series(out, pieces, reading),
            Writer::OpenMetrics(openmetrics) => {
                openmetrics.series(out, pieces, reading, created_ms)
            }
            Writer::Protobuf(protobuf) => protobuf.series(out, labels, reading, created_ms),
        }
    }

    /// Appends what was held back to the end of the family.
    pub fn end_family(&mut self, out: &mut Vec<u8>) {
        match &mut self.format {
            Writer::Text(_) => {}
            Writer::OpenMetrics(openmetrics) => openmetrics.end(out),
            Writer::Protobuf(protobuf) => protobuf.end(out),
        }
    }

    /// Appends the end of the exposition; only needed for the last part of a scrape.
    pub fn finish(self, out: &mut Vec<u8>) {
        if matches!(self.format, Writer::OpenMetrics(_)) {
            out.extend_from_slice(b"# EOF\n");
        }
    }

    /// How many series were left out because escaping gave two of their labels the same name, or made
    /// them equal to another series.
    pub fn series_left_out(&self) -> usize {
        self.series_left_out
    }
}

#[cfg(test)]
mod tests;
