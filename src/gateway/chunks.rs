//! Dividing a scrape into chunks, each of which can be made, kept and sent on its own.
//!
//! A chunk is a run of families, or a part of a large one. It should be large enough to be worth the
//! trouble and small enough that few others have to be made anew when one series changes.

use std::ops::Range;
use std::sync::Arc;

use super::scrape::Source;
use crate::format::encode::{Decision, Options};
use crate::format::escaping::Escaping;
use crate::format::negotiate::Format;
use crate::store::SeriesRef;

/// Plain bytes of a part of a family.
const PART_BYTES: usize = 256 << 10;
/// A run of families ends when it has so many.
const RUN_BYTES: usize = 64 << 10;
/// It may end from here on, by a choice that depends on nothing but the family at its end: so a
/// family that grows moves the borders near it, and not all that follow.
const RUN_BYTES_MIN: usize = 16 << 10;
const BORDER_EVERY: u64 = 8;

#[derive(Debug)]
pub(super) struct Chunk {
    /// Of [`Source`]s; one if it is a part.
    pub(super) sources: Range<usize>,
    pub(super) part: Option<Part>,
    /// It depends on nothing but what its stamp tells.
    pub(super) keepable: bool,
}

/// Some series of a family.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) nth: usize,
    /// The number of the list.
    pub(super) number: u64,
    pub(super) series: Arc<Vec<SeriesRef>>,
    pub(super) range: Range<usize>,
}

/// All chunks, in order.
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
        if let Source::Stored { family, .. } = source
            && bytes > 2 * PART_BYTES
            && decision.of(source.head()).is_divisible()
            && options.format != Format::ProtobufDelimited
            && let (series, number) = family.numbered_series()
            // Two labels that become one are found only in one part. Series born after this are not
            // in the list.
            && (options.escaping == Escaping::AllowUtf8 || !family.has_quoted_names())
        {
            run.end(at, &mut chunks);
            run.start = at + 1;
            let each = (series.len() / (bytes / PART_BYTES)).max(1);
            for (nth, start) in (0..series.len()).step_by(each).enumerate() {
                let range = start..series.len().min(start + each);
                let part = Some(Part { nth, number, series: series.clone(), range });
                chunks.push(Chunk { sources: at..at + 1, part, keepable: true });
            }
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

/// The run at hand.
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
