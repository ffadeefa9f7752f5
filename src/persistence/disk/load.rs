//! Reading everything at start, newest first, and finding whatever is missing or damaged.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use super::format::{FRAME_BYTES, Frame, HEADER_BYTES, Head, Header, read_frame, segment_name};
use super::index::{Id, Place};
use super::{Disk, Segment};
use crate::persistence::{Change, EngineError, Visit};

/// What a segment holds, as far as it matters for the others.
#[derive(Debug, Default)]
struct Loaded {
    header: Option<Header>,
    last: Option<Head>,
    end: u64,
    /// Something follows the end.
    torn: bool,
}

impl Disk {
    /// Visits the valid record of each key; the number of the last commit.
    pub(super) fn load_all(&mut self, visit: &mut dyn Visit) -> Result<u64, EngineError> {
        let found: Vec<u64> = self.segments.drain(..).map(|segment| segment.number).collect();
        let mut needed = found.last().copied().unwrap_or(0);
        if needed < self.marked.segment {
            let name = segment_name(self.marked.segment);
            return Err(self.damage(&name, "it is missing".into()));
        }
        let (mut end, mut newest, mut loaded) = (None, None::<Head>, Vec::new());
        let (mut deleted, mut torn) = (HashSet::new(), false);
        while needed > 0 {
            if !found.contains(&needed) {
                let name = segment_name(needed);
                return Err(self.damage(&name, "it is missing".into()));
            }
            let segment = self.load_segment(needed, end, &mut deleted, visit)?;
            torn |= segment.torn && loaded.is_empty();
            if let Some(header) = segment.header {
                // One that was just begun holds nothing yet, but others may know it.
                loaded.push(Segment { number: needed, end: segment.end });
                end = Some(header.previous_end);
                newest = newest.or(segment.last);
                if newest.is_some_and(|head| head.oldest >= needed) || header.previous_end == 0 {
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
        if self.index.len() as u64 != newest.records {
            let (found, told) = (self.index.len(), newest.records);
            return Err(self.damage("", format!("it holds {found} records instead of {told}")));
        }
        // What is older was done with, and what is newer never began.
        for number in found.into_iter().filter(|n| loaded.iter().all(|s| s.number != *n)) {
            let _ = self.files.remove(&segment_name(number));
        }
        if let Some(last) = loaded.last().filter(|_| torn) {
            // It only takes space, so it does not matter if it stays.
            let file = self.files.open(&segment_name(last.number));
            let _ = file.and_then(|mut file| file.cut(last.end));
        }
        self.segments = loaded;
        if self.store == 0 {
            self.store = RandomState::new().hash_one(0);
        }
        Ok(newest.commit)
    }

    /// Visits the valid records of one segment. The frames end at `end`, or, in the last segment,
    /// where they are no longer whole. What its last frame says, and where the frames end.
    fn load_segment(
        &mut self,
        number: u64,
        end: Option<u64>,
        deleted: &mut HashSet<Id>,
        visit: &mut dyn Visit,
    ) -> Result<Loaded, EngineError> {
        let name = segment_name(number);
        let bytes = self.read(&name)?;
        let header = Header::read(&bytes);
        let Some(header) = header.filter(|header| header.segment == number) else {
            return match end {
                // It was begun and never acknowledged.
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
            // The newest segment: its last frame tells of all.
            let records = usize::try_from(last.records).unwrap_or(0);
            self.index.expect(records);
            visit.expect(records);
        }
        for changes in frames.into_iter().rev() {
            let mut starts = Vec::new();
            let mut rest = changes;
            while let Some((_, after)) = Change::read(rest) {
                starts.push(changes.len() - rest.len());
                rest = after;
            }
            if !rest.is_empty() {
                return Err(self.damage(&name, "a commit holds something unknown".into()));
            }
            for start in starts.into_iter().rev() {
                self.load_change(number, &changes[start..], deleted, visit)?;
            }
        }
        let torn = reached < bytes.len() as u64;
        Ok(Loaded { header: Some(header), last, end: reached, torn })
    }

    /// The first version that is met is the valid one, also if it is a deletion.
    fn load_change(
        &mut self,
        segment: u64,
        bytes: &[u8],
        deleted: &mut HashSet<Id>,
        visit: &mut dyn Visit,
    ) -> Result<(), EngineError> {
        let Some((change, after)) = Change::read(bytes) else { return Ok(()) };
        let id = self.index.id(change.table, change.key);
        if deleted.contains(&id) {
            return Ok(());
        }
        match change.value {
            Some(value) => {
                let place = Place::new(segment, bytes.len() - after.len());
                if self.index.add(id, place) {
                    let visited = visit.record(change.table, change.key, value);
                    visited.map_err(|what| self.damage(&segment_name(segment), what))?;
                }
            }
            None if self.index.get(id).is_none() => _ = deleted.insert(id),
            None => {}
        }
        Ok(())
    }
}

/// The changes of each frame, what the last one says, and where it ends.
fn read_frames<'b>(
    bytes: &'b [u8],
    header: &Header,
    end: Option<u64>,
) -> (Vec<&'b [u8]>, Option<Head>, u64) {
    let end = end.unwrap_or(u64::MAX).min(bytes.len() as u64);
    let bytes = &bytes[..end as usize];
    let (mut frames, mut last, mut offset) = (Vec::new(), None, HEADER_BYTES);
    while let Some(rest) = bytes.get(offset as usize..)
        && let Some(Frame { head, changes }) = read_frame(rest, header, offset)
    {
        frames.push(changes);
        last = Some(head);
        offset += (changes.len() + FRAME_BYTES) as u64;
    }
    (frames, last, offset)
}
