//! Records of which one part was found while loading, and the other one is further back.

use super::Part;
use super::index::{Id, IdMap};
use crate::persistence::batch::make_room;
use crate::persistence::{Record, Visit};

/// They are kept in their written form, one after the other, since there may be millions.
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

    /// Visits the record, of which this is the other part.
    ///
    /// # Errors
    /// If the part that was kept is not the other one, or as `visit`.
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
        // Most were written together, so that nothing piles up here.
        if is_last {
            self.bytes.truncate(start);
        }
        Ok(())
    }

    /// Describes one of those that are left, if there are any.
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
