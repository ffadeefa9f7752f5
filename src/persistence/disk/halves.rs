//! Records of which one part was met at start, and the other stands further back.

use super::Part;
use super::index::{Id, IdMap};
use crate::persistence::batch::make_room;
use crate::persistence::{Record, Visit};

/// They are kept as they are written, one after the other: there may be millions.
#[derive(Default)]
pub(super) struct Halves {
    bytes: Vec<u8>,
    /// Where each begins.
    starts: IdMap<usize>,
}

impl Halves {
    pub(super) fn has(&self, id: Id) -> bool {
        !self.starts.is_empty() && self.starts.contains_key(&id)
    }

    /// Keeps the first part of a record until the other comes.
    pub(super) fn keep(&mut self, id: Id, part: &Part<'_>) {
        self.starts.insert(id, self.bytes.len());
        make_room(&mut self.bytes, part.length());
        part.write(&mut self.bytes);
    }

    /// Visits the record: this is the other part of it.
    ///
    /// # Errors
    /// If there is no part of the other kind, or as `visit`.
    pub(super) fn join(
        &mut self,
        id: Id,
        part: &Part<'_>,
        visit: &mut dyn Visit,
    ) -> Result<(), String> {
        let start = self.starts.remove(&id).ok_or("a part of a record comes twice")?;
        let (first, after) = self.read(start).ok_or("a part of a record is lost")?;
        let is_last = after.is_empty();
        let ((Part::Record { table, key, value, .. }, Part::State { state, .. })
        | (Part::State { state, .. }, Part::Record { table, key, value, .. })) = (first, *part)
        else {
            return Err("two parts of a record are of one kind".into());
        };
        visit.record(Record { table, key, value, state: Some(state) })?;
        // Mostly they were written together, and nothing gathers here.
        if is_last {
            self.bytes.truncate(start);
        }
        Ok(())
    }

    /// What one of those is that are left, if there are any.
    pub(super) fn any(&self) -> Option<String> {
        let start = self.starts.values().next()?;
        Some(match self.read(*start)?.0 {
            Part::Record { table, key, .. } => {
                let key = String::from_utf8_lossy(key);
                format!("the state of a record of {table:?} is missing: {key:?}")
            }
            _ => "a state is there without its record".into(),
        })
    }

    fn read(&self, start: usize) -> Option<(Part<'_>, &[u8])> {
        Part::read_present(self.bytes.get(start..)?)
    }
}
