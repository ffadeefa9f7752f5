//! Divides a scrape into chunks, each of which can be encoded, kept and sent on its own.
//!
//! A chunk is a run of families, or a part of a large one. It should be large enough to be worth the
//! trouble, and small enough that little has to be encoded again when one series changes.

use std::ops::Range;
use std::sync::Arc;

use super::scrape::Source;
use crate::format::encode::{Decision, Options};
use crate::format::escaping::Escaping;
use crate::format::negotiate::Format;
use crate::store::SeriesRef;

/// The size of a part of a family, in bytes before compression.
const PART_BYTES: usize = 256 << 10;
/// A run of families ends when it has reached this size.
const RUN_BYTES: usize = 64 << 10;
/// From this size on it may end, depending only on the family at its end. So a family that grows moves
/// the borders near it, but not all those that follow.
const RUN_BYTES_MIN: usize = 16 << 10;
const BORDER_EVERY: u64 = 8;

#[derive(Debug)]
pub(super) struct Chunk {
    /// Which of the [`Source`]s; a single one if this is a part.
    pub(super) sources: Range<usize>,
    pub(super) part: Option<Part>,
    /// Its stamp covers everything that it depends on.
    pub(super) keepable: bool,
}

/// Some series of a family.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) nth: usize,
    /// The list and its number, if the family is one of the store.
    pub(super) series: Arc<Vec<SeriesRef>>,
    pub(super) number: u64,
    pub(super) range: Range<usize>,
}

/// The chunks, in order.
pub(super) fn divide(
    sources: &[Source],
    decisions: &[Option<Decision>],
    options: Options,
) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut run = Run { start: 0, bytes: 0, keepable: true };
    for (at, (source, decision)) in sources.iter().zip(decisions).enumerate() {
        let Some(decision) = decision else { continue };
        let bytes = source.bytes();
        let keepable = matches!(source, Source::Stored { .. });
        let divisible = bytes > 2 * PART_BYTES
            && options.format != Format::ProtobufDelimited
            && decision.of(source.head()).is_divisible();
        if divisible && let Some(parts) = parts(source, bytes, options.escaping) {
            run.end(at, &mut chunks);
            run.start = at + 1;
            let chunk = |part| Chunk { sources: at..at + 1, part: Some(part), keepable };
            chunks.extend(parts.map(chunk));
            continue;
        }
        if keepable != run.keepable {
            run.end(at, &mut chunks);
            run.keepable = keepable;
        }
        run.bytes += bytes;
        let border = source.hash() % BORDER_EVERY == 0;
        if run.bytes >= RUN_BYTES || run.bytes >= RUN_BYTES_MIN && border {
            run.end(at + 1, &mut chunks);
        }
    }
    run.end(sources.len(), &mut chunks);
    chunks
}

/// The parts of a large family. `None` if it must not be divided: two series that become one by escaping
/// are only noticed within one part.
fn parts(
    source: &Source,
    bytes: usize,
    escaping: Escaping,
) -> Option<impl Iterator<Item = Part> + use<>> {
    let (series, number, length, quoted) = match source {
        Source::Stored { family, .. } => {
            // The list first: a series that is born in between is then not in it.
            let (series, number) = family.numbered_series();
            let length = series.len();
            (series, number, length, family.has_quoted_names())
        }
        Source::Shown(shown) => (Arc::default(), 0, shown.series().len(), shown.has_quoted_names()),
        Source::Own(_) => return None,
    };
    if quoted && escaping != Escaping::AllowUtf8 {
        return None;
    }
    let each = (length / (bytes / PART_BYTES)).max(1);
    let starts = (0..length).step_by(each).enumerate();
    Some(starts.map(move |(nth, start)| Part {
        nth,
        number,
        series: series.clone(),
        range: start..length.min(start + each),
    }))
}

/// The run that is being put together.
struct Run {
    start: usize,
    bytes: usize,
    keepable: bool,
}

impl Run {
    fn end(&mut self, at: usize, chunks: &mut Vec<Chunk>) {
        if at > self.start {
            let keepable = self.keepable;
            chunks.push(Chunk { sources: self.start..at, part: None, keepable });
        }
        self.start = at;
        self.bytes = 0;
    }
}
