//! Keeping the disk small: what is valid of the oldest segment goes into new commits, and the
//! segment goes.
//!
//! It is gone through from its end, so that the first version of a part of a record that is met is the
//! last one there; when that is copied, it is known to be elsewhere, and older versions are left
//! behind. Deletions are left behind, too: there is nothing older that they could delete. Where
//! everything is pushed again and again, nothing of the segment is valid any more, and it goes
//! without being read.

use std::io;

use super::format::{self, HEADER_BYTES, Header};
use super::index::{Place, Places};
use super::{Content, Disk, Part, Segment};
use crate::persistence::EngineError;

/// More segments than this are too many, however small they are: each start begins one.
const SEGMENTS_MAX: usize = 64;
/// So much is gone through for each byte that is committed, ...
const BYTES_FACTOR: usize = 4;
/// ... and at least so much.
const BYTES_MIN: usize = 64 << 10;

/// The oldest segment is being gone through.
pub(super) struct Upkeep {
    file: Box<dyn Content>,
    header: Header,
    /// Where the frames are that are still to be read.
    frames: Vec<u64>,
    /// The last frame read, and where those of its parts begin that are still to be looked at.
    frame: Vec<u8>,
    starts: Vec<usize>,
}

/// Why a segment cannot be read: by an error of the system, or by its content.
enum Unread {
    Io(io::Error),
    Damage { offset: u64 },
}

impl Upkeep {
    fn begin(end: u64, file: Box<dyn Content>) -> Result<Upkeep, Unread> {
        let mut head = vec![0; HEADER_BYTES as usize];
        file.read_at(0, &mut head).map_err(Unread::Io)?;
        let header = Header::read(&head).ok_or(Unread::Damage { offset: 0 })?;
        let (mut frames, mut offset) = (Vec::new(), HEADER_BYTES);
        while offset < end {
            let mut head = [0; 8];
            file.read_at(offset, &mut head).map_err(Unread::Io)?;
            frames.push(offset);
            let length = format::frame_length(&head);
            let after = length.and_then(|length| offset.checked_add(length));
            offset = after.filter(|after| *after <= end).ok_or(Unread::Damage { offset })?;
        }
        let (frame, starts) = (Vec::new(), Vec::new());
        Ok(Upkeep { file, header, frames, frame, starts })
    }

    /// The last part that was not looked at yet.
    fn next(&mut self) -> Result<Option<Part<'_>>, Unread> {
        while self.starts.is_empty() {
            let Some(offset) = self.frames.pop() else { return Ok(None) };
            self.read_frame(offset)?;
        }
        let Some(start) = self.starts.pop() else { return Ok(None) };
        // It was read before.
        Ok(Part::read(&self.frame[start..], &self.header).map(|(part, _)| part))
    }

    fn read_frame(&mut self, offset: u64) -> Result<(), Unread> {
        let damage = || Unread::Damage { offset };
        let mut head = [0; 8];
        self.file.read_at(offset, &mut head).map_err(Unread::Io)?;
        let length = format::frame_length(&head).and_then(|length| usize::try_from(length).ok());
        // Only one at a time is held: a commit may be large.
        self.frame = Vec::new();
        self.frame.resize(length.ok_or_else(damage)?, 0);
        self.file.read_at(offset, &mut self.frame).map_err(Unread::Io)?;
        let read = format::read_frame(&self.frame, &self.header, offset).ok_or_else(damage)?;
        let end = read.changes_at + read.changes.len();
        let mut rest = read.changes;
        while let Some((_, after)) = Part::read(rest, &self.header) {
            self.starts.push(end - rest.len());
            rest = after;
        }
        if rest.is_empty() { Ok(()) } else { Err(damage()) }
    }
}

impl Places {
    /// The place of the valid version of this part, if it is one.
    fn of(&mut self, part: &Part<'_>) -> Option<&mut Option<Place>> {
        match part {
            Part::Record { .. } => Some(&mut self.record),
            Part::State { .. } => Some(&mut self.state),
            Part::Deleted { .. } => None,
        }
    }
}

impl Disk {
    /// Copies what is valid of the oldest segment into the frame, if there is too much on the disk.
    /// `committed` is how much the commit itself brings. The oldest segment that is needed then.
    pub(super) fn keep_up(
        &mut self,
        committed: usize,
        frame: &mut Vec<u8>,
    ) -> Result<u64, EngineError> {
        let active = self.active.as_ref().map_or(1, |active| active.header.segment);
        let is_needed =
            |segment: &&Segment| segment.number == active || self.index.live_in(segment.number) > 0;
        let first = self.segments.iter().find(is_needed).copied();
        let Some(first) = first.filter(|first| first.number != active) else {
            return Ok(self.needed_from(active));
        };
        let mut upkeep = match self.upkeep.take() {
            Some(upkeep) if upkeep.header.segment == first.number => upkeep,
            _ => {
                // While it is copied and commits go on, its size comes on top.
                let then = self.disk_bytes() + first.end + first.end / 4;
                let most = self.index.bytes() * 12 / 5 + 2 * self.sizes.segment_bytes[0];
                if then <= most && self.segments.len() <= SEGMENTS_MAX {
                    return Ok(self.needed_from(first.number));
                }
                self.begin_upkeep(first)?
            }
        };
        let mut budget = BYTES_MIN.max(committed.saturating_mul(BYTES_FACTOR));
        while budget > 0 && self.index.live_in(first.number) > 0 {
            match upkeep.next() {
                Ok(Some(part)) => {
                    budget = budget.saturating_sub(part.length());
                    let id = part.id(self.store);
                    let mut places = self.index.get(id);
                    let Some(place) = places.of(&part) else { continue };
                    if place.is_some_and(|place| place.is_in(first.number)) {
                        part.write(frame);
                        *place = Some(Place::new(active, part.length()));
                        self.set_places(id, places);
                    }
                }
                Ok(None) => {
                    let name = format::segment_name(first.number);
                    return Err(self.damage(&name, "it lacks records".into()));
                }
                Err(unread) => return Err(self.unread(first.number, unread)),
            }
        }
        if self.index.live_in(first.number) == 0 {
            return Ok(self.needed_from(first.number + 1));
        }
        self.upkeep = Some(upkeep);
        Ok(self.needed_from(first.number))
    }

    /// The next commit says that this is the oldest segment that is needed.
    fn needed_from(&mut self, segment: u64) -> u64 {
        self.oldest = segment;
        segment
    }

    fn begin_upkeep(&mut self, segment: Segment) -> Result<Upkeep, EngineError> {
        let Segment { number, end } = segment;
        let name = format::segment_name(number);
        let file = self.files.open(&name).map_err(|error| self.io("open", &name, error))?;
        Upkeep::begin(end, file).map_err(|unread| self.unread(number, unread))
    }

    /// Removes the segments that are not needed any more, when a commit that says so is safe.
    pub(super) fn remove_old(&mut self) {
        let is_old = |segment: &mut Segment| segment.number < self.oldest;
        for segment in self.segments.extract_if(.., is_old) {
            // If it stays, the next start removes it.
            let _ = self.files.remove(&format::segment_name(segment.number));
        }
    }

    fn unread(&self, segment: u64, unread: Unread) -> EngineError {
        match unread {
            Unread::Io(error) => self.io("read", &format::segment_name(segment), error),
            Unread::Damage { offset } => self.does_not_verify(segment, offset),
        }
    }
}
