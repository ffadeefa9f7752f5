//! Removes series: those of a group, by selector, by age, or all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::{SeriesRef, Store, Structure, job_of};
use crate::persistence::Ticket;

/// The most series that are removed at a time, while pushes wait.
pub const SLICE: usize = 1024;

/// What was removed, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    pub series: usize,
    /// Series by family name.
    pub families: BTreeMap<String, usize>,
    /// When the removal may be acknowledged.
    pub ticket: Ticket,
}

impl Removed {
    fn note(&mut self, series: &SeriesRef) {
        self.series += 1;
        // Pushes wait meanwhile, so a name is only copied once.
        let name = series.family.name();
        match self.families.get_mut(name) {
            Some(series) => *series += 1,
            None => _ = self.families.insert(name.to_owned(), 1),
        }
    }

    /// Adds a later removal, of other families.
    fn join(&mut self, other: Removed) {
        self.series += other.series;
        self.families.extend(other.families);
        self.ticket = self.ticket.max(other.ticket);
    }
}

impl Store {
    /// Removes the series first pushed under exactly this grouping key (canonical label text), not
    /// those of longer keys.
    pub fn remove_group(&self, key: &str, dry_run: bool) -> Removed {
        let members = self.structure.lock().groups.members(key);
        self.remove_all(&members, dry_run, |_| true)
    }

    /// Removes the series that `matches` is true of, given family name and label text.
    pub fn remove_matching(&self, dry_run: bool, matches: impl Fn(&str, &str) -> bool) -> Removed {
        let mut removed = Removed::default();
        for family in self.families().iter() {
            let chosen: Vec<SeriesRef> = family
                .series()
                .iter()
                .filter(|series| matches(family.name(), &series.labels()))
                .cloned()
                .collect();
            let part = self.remove_all(&chosen, dry_run, |_| true);
            removed.join(part);
        }
        removed
    }

    /// Removes the series whose time to live has passed. What was pushed at `seen_s` or later has not
    /// been shown to every scraper yet, and stays for longer. Times are seconds since the Unix epoch.
    ///
    /// All series are looked at without a lock, and those that seem to be due once more with it.
    pub fn remove_expired(&self, now_s: u32, seen_s: u32) -> Removed {
        let is_due = |series: &SeriesRef| series.is_expired(now_s, seen_s);
        let mut removed = Removed::default();
        if !self.mortal.load(Relaxed) {
            return removed;
        }
        for family in self.families().iter() {
            let due: Vec<SeriesRef> =
                family.series().iter().filter(|series| is_due(series)).cloned().collect();
            let part = self.remove_all(&due, false, is_due);
            removed.join(part);
        }
        removed
    }

    fn remove_all(
        &self,
        chosen: &[SeriesRef],
        dry_run: bool,
        still: impl Fn(&SeriesRef) -> bool,
    ) -> Removed {
        let still = |series: &&SeriesRef| !series.is_dead() && still(series);
        let mut removed = Removed::default();
        if dry_run {
            chosen.iter().filter(still).for_each(|series| removed.note(series));
            return removed;
        }
        for slice in chosen.chunks(SLICE) {
            let gate = self.commits.exclude();
            self.removals.fetch_add(1, Relaxed);
            let mut structure = self.structure.lock();
            for series in slice.iter().filter(still) {
                removed.note(series);
                self.unlink(series, &mut structure);
            }
            removed.ticket = gate.ticket();
        }
        // This also frees dead families: a family lists its series, and each of them refers to it.
        for run in chosen.chunk_by(|a, b| Arc::ptr_eq(&a.family, &b.family)) {
            run[0].family.index.tidy();
        }
        self.family_index.tidy();
        removed
    }

    /// Nobody is pushing to the series, because the caller holds the gate.
    fn unlink(&self, series: &SeriesRef, structure: &mut Structure) {
        series.kill();
        self.series.remove(series);
        self.series_count.fetch_sub(1, Relaxed);
        let kept = self.commits.are_kept();
        if kept {
            self.changed.note_removed_series(series);
        }

        let family = &series.family;
        let labels = series.labels();
        family.note_death(&labels);
        if family.live.fetch_sub(1, Relaxed) == 1 {
            family.dead.store(true, Relaxed);
            self.families.remove(family);
            self.family_index.note_dead();
            self.family_count.fetch_sub(1, Relaxed);
            if kept {
                self.changed.note_removed_family(family);
            }
        }

        let job = job_of(&labels);
        if let Some(count) = structure.jobs.get_mut(&*job) {
            *count -= 1;
            if *count == 0 {
                structure.jobs.remove(&*job);
            }
        }
        structure.groups.remove(series);
    }
}
