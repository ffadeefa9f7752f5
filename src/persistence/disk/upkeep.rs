//! Keeps the store small: what is still valid in the oldest segment is copied into new commits, and the
//! segment is removed.
//!
//! The segment is read from its end, so the first version of a part that comes up is its last one there.
//! Once that is copied it is known to be elsewhere, and older versions are left behind. So are deletions,
//! because nothing older is left that they could delete. Where everything is pushed all the time, nothing
//! in the segment is valid any more, and it is removed without being read.

use std::io;

use super::format::{self, HEADER_BYTES, Header};
use super::index::{Place, Places};
use super::{Content, Disk, Part, Segment};
use crate::persistence::EngineError;

/// More segments are too many, even if they are small: each start begins one.
const SEGMENTS_MAX: usize = 64;
/// How much is gone through for each byte that is committed, ...
const BYTES_FACTOR: usize = 4;
/// ... and at least.
const BYTES_MIN: usize = 64 << 10;
/// How much at a time while nobody waits.
const BYTES_IDLE: usize = 1 << 20;

/// The state of going through the oldest segment.
pub(super) struct Upkeep {
    file: Box<dyn Content>,
    header: Header,
    /// Offsets of the frames that are still to be read.
    frames: Vec<u64>,
    /// The last frame that was read, and where its parts begin that are still to be looked at.
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

    /// The last part that is still to be looked at.
    fn next(&mut self) -> Result<Option<Part<'_>>, Unread> {
        while self.starts.is_empty() {
            let Some(offset) = self.frames.pop() else { return Ok(None) };
            self.read_frame(offset)?;
        }
        let Some(start) = self.starts.pop() else { return Ok(None) };
        // It was readable before.
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
    /// The oldest segment in which anything is valid, unless that is the active one.
    fn oldest_valid(&self) -> Option<Segment> {
        let active = self.active.as_ref().map(|active| active.header.segment);
        let is_valid = |segment: &&Segment| {
            Some(segment.number) == active || self.index.live_in(segment.number) > 0
        };
        let oldest = self.segments.iter().find(is_valid);
        oldest.filter(|oldest| Some(oldest.number) != active).copied()
    }

    /// The store takes too much space, so this segment should go.
    fn should_go(&self, oldest: Segment) -> bool {
        // While it is being copied and commits go on, its size comes on top.
        let then = self.disk_bytes() + oldest.end + oldest.end / 4;
        let most = self.index.bytes() * 12 / 5 + 2 * self.sizes.segment_bytes[0];
        then > most || self.segments.len() > SEGMENTS_MAX
    }

    /// There is something to copy, even if nothing new has to be written.
    pub(super) fn is_crowded(&self) -> bool {
        !self.read_only
            && (self.upkeep.is_some()
                || self.oldest_valid().is_some_and(|oldest| self.should_go(oldest)))
    }

    /// Copies valid parts of the oldest segment into the frame, if the store takes too much space.
    /// `committed` is the size of the commit itself.
    pub(super) fn keep_up(
        &mut self,
        committed: usize,
        frame: &mut Vec<u8>,
    ) -> Result<(), EngineError> {
        let upkeep = self.upkeep.take();
        let (Some(oldest), Some(active)) = (self.oldest_valid(), &self.active) else {
            return Ok(());
        };
        let active = active.header.segment;
        let mut upkeep = match upkeep.filter(|upkeep| upkeep.header.segment == oldest.number) {
            Some(upkeep) => upkeep,
            None if self.should_go(oldest) => self.begin_upkeep(oldest)?,
            None => return Ok(()),
        };
        let mut budget = match committed {
            0 => BYTES_IDLE,
            committed => BYTES_MIN.max(committed.saturating_mul(BYTES_FACTOR)),
        };
        while budget > 0 && self.index.live_in(oldest.number) > 0 {
            match upkeep.next() {
                Ok(Some(part)) => {
                    budget = budget.saturating_sub(part.length());
                    let id = part.id(self.store);
                    let mut places = self.index.get(id);
                    let Some(place) = places.of(&part) else { continue };
                    if place.is_some_and(|place| place.is_in(oldest.number)) {
                        part.write(frame);
                        *place = Some(Place::new(active, part.length()));
                        self.set_places(id, places);
                    }
                }
                Ok(None) => {
                    let name = format::segment_name(oldest.number);
                    return Err(self.damage(&name, "it lacks records".into()));
                }
                Err(unread) => return Err(self.unread(oldest.number, unread)),
            }
        }
        self.upkeep = Some(upkeep).filter(|_| self.index.live_in(oldest.number) > 0);
        Ok(())
    }

    /// The oldest segment that is still needed once the frame that is being written to `active` is complete.
    pub(super) fn oldest_needed(&self, active: u64) -> u64 {
        let is_needed = |number: &u64| self.index.live_in(*number) > 0;
        self.segments.iter().map(|segment| segment.number).find(is_needed).unwrap_or(active)
    }

    fn begin_upkeep(&mut self, segment: Segment) -> Result<Upkeep, EngineError> {
        let Segment { number, end } = segment;
        let name = format::segment_name(number);
        let file = self.files.open(&name).map_err(|error| self.io("open", &name, error))?;
        Upkeep::begin(end, file).map_err(|unread| self.unread(number, unread))
    }

    /// Removes the segments that are not needed any more. To be called when a commit that says so is safe.
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
