//! Reads everything at start, the newest first, and finds whatever is missing or damaged.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use super::format::{FRAME_BYTES, Frame, HEADER_BYTES, Header, Tail, read_frame, segment_name};
use super::halves::Halves;
use super::index::{Id, IdSet, Place, Places};
use super::{Disk, Part, Segment};
use crate::persistence::{EngineError, Record, Visit};

/// What is known about records while older segments are still to be read.
#[derive(Default)]
struct Known {
    deleted: IdSet,
    halves: Halves,
}

/// What a segment says that matters for the others.
#[derive(Debug, Default)]
struct Loaded {
    header: Option<Header>,
    last: Option<Tail>,
    end: u64,
    /// Something follows the end.
    torn: bool,
}

impl Disk {
    /// Visits the valid record of each key, and returns the number of the last commit.
    pub(super) fn load_all(&mut self, visit: &mut dyn Visit) -> Result<u64, EngineError> {
        let found: Vec<u64> = self.segments.drain(..).map(|segment| segment.number).collect();
        let mut needed = found.last().copied().unwrap_or(0);
        if needed < self.marked.segment {
            let name = segment_name(self.marked.segment);
            return Err(self.damage(&name, "it is missing".into()));
        }
        let (mut end, mut newest, mut loaded) = (None, None::<Tail>, Vec::new());
        let (mut known, mut torn) = (Known::default(), false);
        while needed > 0 {
            if !found.contains(&needed) {
                let name = segment_name(needed);
                return Err(self.damage(&name, "it is missing".into()));
            }
            let segment = self.load_segment(needed, end, &mut known, visit)?;
            torn |= segment.torn && loaded.is_empty();
            if let Some(header) = segment.header {
                // A segment without frames is listed, too: later ones may refer to it.
                loaded.push(Segment { number: needed, end: segment.end });
                end = Some(header.previous_end);
                newest = newest.or(segment.last);
                if newest.is_some_and(|tail| tail.oldest >= needed) || header.previous_end == 0 {
                    break;
                }
            }
            needed -= 1;
        }
        loaded.reverse();
        let newest = newest.unwrap_or_default();
        if newest.commit < self.marked.commit {
            let what = format!(
                "the last commit is number {}, but number {} was acknowledged",
                newest.commit, self.marked.commit
            );
            return Err(self.damage(&segment_name(self.marked.segment), what));
        }
        if let Some(what) = known.halves.any() {
            return Err(self.damage("", what));
        }
        if self.index.len() as u64 != newest.records {
            let (found, told) = (self.index.len(), newest.records);
            return Err(self.damage("", format!("it holds {found} records instead of {told}")));
        }
        self.segments = loaded;
        if !self.read_only {
            self.tidy(&found, torn);
        }
        if self.store == 0 {
            self.store = RandomState::new().hash_one(0);
        }
        Ok(newest.commit)
    }

    /// Removes segments that are not needed or never began, and the torn end of the last one. If that fails,
    /// they only take space.
    fn tidy(&mut self, found: &[u64], torn: bool) {
        for number in found {
            if self.segments.iter().all(|segment| segment.number != *number) {
                let _ = self.files.remove(&segment_name(*number));
            }
        }
        if let Some(last) = self.segments.last().filter(|_| torn) {
            let file = self.files.open(&segment_name(last.number));
            let _ = file.and_then(|mut file| file.cut(last.end));
        }
    }

    /// Visits the valid records of one segment. Its frames must end at `end`; those of the last segment end
    /// where they are no longer intact.
    fn load_segment(
        &mut self,
        number: u64,
        end: Option<u64>,
        known: &mut Known,
        visit: &mut dyn Visit,
    ) -> Result<Loaded, EngineError> {
        let name = segment_name(number);
        let bytes = self.read(&name)?;
        let header = Header::read(&bytes);
        let Some(header) = header.filter(|header| header.segment == number) else {
            return match end {
                // It was begun, but nothing in it was acknowledged.
                None if number > self.marked.segment => Ok(Loaded::default()),
                _ => Err(self.does_not_verify(number, 0)),
            };
        };
        let (frames, last, reached) = read_frames(&bytes, &header, end);
        match end {
            Some(end) if reached != end => return Err(self.does_not_verify(number, reached)),
            _ if number == self.marked.segment && reached < self.marked.end => {
                return Err(self.does_not_verify(number, reached));
            }
            _ => {}
        }
        if self.store == 0 {
            self.store = header.store;
        } else if self.store != header.store {
            return Err(self.damage(&name, "it belongs to another store".into()));
        }
        if let (None, Some(last)) = (end, last) {
            // The newest segment: its last frame knows how many records there are.
            let records = usize::try_from(last.records).unwrap_or(0);
            self.index.expect(records);
            visit.expect(records);
        }
        let store = header.store;
        let mut starts = Vec::new();
        for changes in frames.into_iter().rev() {
            let mut rest = changes;
            while let Some((_, after)) = Part::read(rest, &header) {
                starts.push(changes.len() - rest.len());
                rest = after;
            }
            if !rest.is_empty() {
                return Err(self.damage(&name, "a commit holds something unknown".into()));
            }
            for start in starts.drain(..).rev() {
                if let Some((part, _)) = Part::read(&changes[start..], &header) {
                    let loaded = self.load_part(&part, part.id(store), number, known, visit);
                    loaded.map_err(|what| self.damage(&name, what))?;
                }
            }
        }
        let torn = reached < bytes.len() as u64;
        Ok(Loaded { header: Some(header), last, end: reached, torn })
    }

    /// The first version that comes up is the valid one, even if it is a deletion. A record is visited when
    /// both of its parts have come up.
    fn load_part(
        &mut self,
        part: &Part<'_>,
        id: Id,
        segment: u64,
        known: &mut Known,
        visit: &mut dyn Visit,
    ) -> Result<(), String> {
        let places = self.index.get(id);
        if places == Places::NOWHERE && known.deleted.contains(&id) {
            return Ok(());
        }
        let place = Some(Place::new(segment, part.length()));
        match *part {
            Part::Record { .. } if places.record.is_some() => Ok(()),
            Part::Record { table, key, value, has_state } => {
                self.index.set(id, Places { record: place, ..places });
                match (has_state, places.state) {
                    (false, None) => visit.record(Record { table, key, value, state: None }),
                    (false, Some(_)) => {
                        Err(format!("a record of {table:?} has no place for its state"))
                    }
                    (true, None) => {
                        known.halves.keep(id, part);
                        Ok(())
                    }
                    (true, Some(_)) => known.halves.join(id, part, visit),
                }
            }
            Part::State { .. } if places.state.is_some() => Ok(()),
            Part::State { .. } if places.record.is_none() => {
                self.index.set(id, Places { state: place, ..places });
                known.halves.keep(id, part);
                Ok(())
            }
            // Otherwise the record has been replaced by one without a state.
            Part::State { .. } if known.halves.has(id) => {
                self.index.set(id, Places { state: place, ..places });
                known.halves.join(id, part, visit)
            }
            Part::State { .. } => Ok(()),
            Part::Deleted { .. } if known.halves.has(id) => {
                Err("one part of a record is older than its deletion".into())
            }
            Part::Deleted { .. } => {
                if places == Places::NOWHERE {
                    known.deleted.insert(id);
                }
                Ok(())
            }
        }
    }
}

/// The changes of each frame, what the last one says, and where it ends.
fn read_frames<'b>(
    bytes: &'b [u8],
    header: &Header,
    end: Option<u64>,
) -> (Vec<&'b [u8]>, Option<Tail>, u64) {
    let end = end.unwrap_or(u64::MAX).min(bytes.len() as u64);
    let bytes = &bytes[..end as usize];
    let (mut frames, mut last, mut offset) = (Vec::new(), None, HEADER_BYTES);
    while let Some(rest) = bytes.get(offset as usize..)
        && let Some(Frame { tail, changes, .. }) = read_frame(rest, header, offset)
    {
        frames.push(changes);
        last = Some(tail);
        offset += (changes.len() + FRAME_BYTES) as u64;
    }
    (frames, last, offset)
}
