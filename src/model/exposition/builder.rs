//! Fills an exposition: what all parsers share, and what makes the result consistent.

use super::{
    Bucket, BuildError, COMPLAINTS_MAX, Exposition, FamilyEntry, FamilyId, Given, Member, Names,
    PushedFamily, Quantile, SeriesEntry, SeriesId, Span, State, TEXT_BYTES_MAX,
};
use crate::model::labels::{self, Label, LabelError};
use crate::model::name::is_legacy_label_name;
use crate::model::{Exemplar, Grouping, Kind, NativeBuckets, Number, Shown};

/// Fills an [`Exposition`]. A parser calls it in the order of the body, then [`Builder::finish`]; after
/// an error the exposition must not be used.
#[derive(Debug)]
pub struct Builder<'e> {
    pub(super) to: &'e mut Exposition,
    pub(super) grouping: &'e Grouping,
    /// The names that are allowed, if this is a push that replaces.
    pub(super) replaces: Option<Names>,
}

impl Builder<'_> {
    /// The family with this name, if the body has named it before.
    pub fn find_family(&self, name: &str) -> Option<FamilyId> {
        let hash = self.to.hasher.family(name);
        self.to.find_hashed(name, hash)
    }

    /// The family with this name, which is created if it is new ([`Kind::Untyped`] until
    /// [`Builder::set_kind`]).
    pub fn family(&mut self, name: &str) -> FamilyId {
        let hash = self.to.hasher.family(name);
        if let Some(found) = self.to.find_hashed(name, hash) {
            return found;
        }
        let entry = FamilyEntry {
            name: self.to.push_str(name),
            hash,
            kind: Kind::Untyped,
            help: None,
            unit: None,
            typed: false,
            series: 0,
        };
        let at = self.to.families.len() as u32;
        self.to.families.push(entry);
        let families = &self.to.families;
        self.to.family_index.insert_unique(hash, at, |&at| families[at as usize].hash);
        FamilyId(at)
    }

    /// A family, as far as it is known.
    #[inline]
    pub fn get(&self, id: FamilyId) -> PushedFamily<'_> {
        self.to.family(id)
    }

    /// [`Kind::Untyped`] until it is set.
    #[inline]
    pub fn kind(&self, id: FamilyId) -> Kind {
        self.to.families[id.0 as usize].kind
    }

    /// Must come before the first series of the family.
    pub fn set_kind(&mut self, id: FamilyId, kind: Kind) {
        let entry = &mut self.to.families[id.0 as usize];
        debug_assert_eq!(entry.series, 0, "the kind decides how samples are stored");
        (entry.kind, entry.typed) = (kind, true);
    }

    /// `help` is unescaped; an empty text counts as none.
    pub fn set_help(&mut self, id: FamilyId, help: &str) {
        let span = (!help.is_empty()).then(|| self.to.push_str(help));
        self.to.families[id.0 as usize].help = span;
    }

    /// An empty unit counts as none.
    pub fn set_unit(&mut self, id: FamilyId, unit: &str) {
        let span = (!unit.is_empty()).then(|| self.to.push_str(unit));
        self.to.families[id.0 as usize].unit = span;
    }

    /// The series with these labels (without `le`, `quantile` or the state), which is created if it is
    /// new.
    ///
    /// # Errors
    /// If `labels` is not a valid label set, or the push has too much text.
    pub fn series(
        &mut self,
        family: FamilyId,
        labels: &mut [Label<'_>],
    ) -> Result<SeriesId, BuildError> {
        if self.replaces == Some(Names::Legacy)
            && let Some(odd) = labels.iter().find(|label| !is_legacy_label_name(&label.name))
        {
            return Err(LabelError::NotLegacy(odd.name.to_string()).into());
        }
        let to = &mut *self.to;
        let start = to.text.len();
        let extent = match labels::write_canonical(&mut to.text, labels, self.grouping) {
            Ok(extent) => extent,
            Err(LabelError::Reserved(name)) if self.replaces.is_some() && name != "__name__" => {
                to.text.truncate(start);
                self.complain(LabelError::Reserved(name).to_string());
                return self.series(family, &mut []);
            }
            Err(error) => return Err(error.into()),
        };
        if to.text.len() > TEXT_BYTES_MAX {
            return Err(BuildError::TooMuchText);
        }
        to.extent.labels = to.extent.labels.max(extent.labels);
        to.extent.name_bytes = to.extent.name_bytes.max(extent.name_bytes);
        to.extent.value_bytes = to.extent.value_bytes.max(extent.value_bytes);

        let text = &to.text[start..];
        let hash = to.hasher.series(to.families[family.0 as usize].hash, text);
        let same = |&at: &u32| {
            let entry = &to.series[at as usize];
            entry.family == family && to.str(entry.labels) == text
        };
        if let Some(&found) = to.series_index.find(hash, same) {
            to.text.truncate(start);
            return Ok(SeriesId(found));
        }
        let at = to.series.len() as u32;
        to.series.push(SeriesEntry {
            family,
            labels: Span { start: start as u32, end: to.text.len() as u32 },
            hash,
            scalar: None,
            count: None,
            sum: None,
            members: Span::default(),
            native: None,
            exemplars: Span::default(),
            created_ms: None,
            dropped: false,
        });
        to.families[family.0 as usize].series += 1;
        let series = &to.series;
        to.series_index.insert_unique(hash, at, |&at| series[at as usize].hash);
        Ok(SeriesId(at))
    }

    /// For parsers of pushes that replace: notes why the push cannot be stored.
    pub fn complain(&mut self, complaint: String) {
        match self.to.complaints.len() < COMPLAINTS_MAX {
            true => self.to.complaints.push(complaint),
            false => self.to.complaints_left_out += 1,
        }
    }

    /// Whether this is a push that replaces.
    pub fn replaces(&self) -> bool {
        self.replaces.is_some()
    }

    /// The value of a counter, gauge, untyped or info series.
    ///
    /// # Errors
    /// If it has one already, because the body contains the series twice.
    pub fn set_scalar(&mut self, id: SeriesId, value: f64) -> Result<(), BuildError> {
        self.to.samples += 1;
        match self.entry(id).scalar.replace(value) {
            None => Ok(()),
            Some(_) => self.told_twice("the value", id),
        }
    }

    /// `_count` (`_gcount`) of a histogram or summary.
    ///
    /// # Errors
    /// If it has one already.
    pub fn set_count(&mut self, id: SeriesId, count: Number) -> Result<(), BuildError> {
        self.to.samples += 1;
        match self.entry(id).count.replace(count) {
            None => Ok(()),
            Some(_) => self.told_twice("the count", id),
        }
    }

    /// `_sum` (`_gsum`) of a histogram or summary.
    ///
    /// # Errors
    /// If it has one already.
    pub fn set_sum(&mut self, id: SeriesId, sum: f64) -> Result<(), BuildError> {
        self.to.samples += 1;
        match self.entry(id).sum.replace(sum) {
            None => Ok(()),
            Some(_) => self.told_twice("the sum", id),
        }
    }

    /// A classic bucket; duplicates (by number) are found by [`Builder::finish`].
    pub fn add_bucket(&mut self, id: SeriesId, mut bucket: Bucket) {
        self.to.samples += 1;
        bucket.upper_bound += 0.0; // -0 and 0 are the same bound.
        self.to.buckets.push(Member { series: id, value: bucket });
    }

    /// A quantile of a summary; duplicates are found by [`Builder::finish`].
    pub fn add_quantile(&mut self, id: SeriesId, quantile: f64, value: f64) {
        self.to.samples += 1;
        self.to.quantiles.push(Member { series: id, value: Quantile { quantile, value } });
    }

    /// A state of a stateset; duplicates are found by [`Builder::finish`].
    pub fn add_state(&mut self, id: SeriesId, name: &str, on: bool) {
        self.to.samples += 1;
        self.to.states.push(Member { series: id, value: State { name: name.into(), on } });
    }

    /// # Errors
    /// If the series has native buckets already.
    pub fn set_native(&mut self, id: SeriesId, native: NativeBuckets) -> Result<(), BuildError> {
        let at = self.to.natives.len() as u32;
        self.to.samples += native.positive.len() + native.negative.len();
        self.to.natives.push(native);
        match self.entry(id).native.replace(at) {
            None => Ok(()),
            Some(_) => self.told_twice("the native part", id),
        }
    }

    /// An exemplar of a counter or of native buckets (a classic bucket contains its own).
    pub fn add_exemplar(&mut self, id: SeriesId, exemplar: Exemplar) {
        self.to.exemplars.push(Member { series: id, value: exemplar });
    }

    /// The start time that the client gave. It is kept, but sums do not use it.
    pub fn set_created(&mut self, id: SeriesId, created_ms: i64) {
        self.entry(id).created_ms = Some(created_ms);
    }

    /// The position in the body of the value that was given last, so that bodies of the same form can
    /// be read faster; see [`Exposition::slots`].
    #[inline]
    pub fn note_slot(&mut self, start: usize, end: usize, given: Given) {
        self.to.note_slot(start, end, given);
    }

    fn entry(&mut self, id: SeriesId) -> &mut SeriesEntry {
        &mut self.to.series[id.0 as usize]
    }

    fn told_twice(&mut self, what: &str, id: SeriesId) -> Result<(), BuildError> {
        let error = BuildError::Twice { what: what.to_owned(), series: self.to.describe(id) };
        if self.replaces() {
            self.complain(error.to_string());
            return Ok(());
        }
        Err(error)
    }

    /// Groups and sorts the members of each series, and leaves out `_created` pseudo samples.
    ///
    /// # Errors
    /// If a bucket, quantile or state of one series is given twice, or the name of a family contains
    /// what would fail a whole scrape (see [`labels::check_name`]).
    pub fn finish(mut self) -> Result<(), BuildError> {
        let mut names = self.to.families.iter().map(|family| self.to.str(family.name));
        if let Some(name) = names.find(|name| name.as_bytes().contains(&0)) {
            return Err(BuildError::Nul(name.to_owned()));
        }
        if self.replaces() {
            self.gather_as_pushed();
            return Ok(());
        }
        let to = self.to;
        let reordered = &mut to.reordered;
        let gathered = gather(
            &mut to.buckets,
            reordered,
            |a, b| a.upper_bound.total_cmp(&b.upper_bound),
            |id, span| {
                to.series[id.0 as usize].members = span;
            },
        )
        .map_err(|(id, bucket)| (id, format!("the bucket le=\"{}\"", Shown(bucket.upper_bound))))
        .and_then(|()| {
            gather(
                &mut to.quantiles,
                reordered,
                |a, b| a.quantile.total_cmp(&b.quantile),
                |id, span| {
                    to.series[id.0 as usize].members = span;
                },
            )
            .map_err(|(id, q)| (id, format!("the quantile \"{}\"", q.quantile)))
        })
        .and_then(|()| {
            gather(
                &mut to.states,
                reordered,
                |a, b| a.name.cmp(&b.name),
                |id, span| {
                    to.series[id.0 as usize].members = span;
                },
            )
            .map_err(|(id, state)| (id, format!("the state {:?}", state.name)))
        });
        if let Err((id, what)) = gathered {
            return Err(BuildError::Twice { what, series: to.describe(id) });
        }
        gather_exemplars(&mut to.exemplars, &mut to.series);
        to.drop_created();
        Ok(())
    }
}

impl Builder<'_> {
    /// As [`Builder::finish`], but members stay in the order of the body.
    fn gather_as_pushed(&mut self) {
        let Exposition { buckets, quantiles, exemplars, series, .. } = &mut *self.to;
        let mut twice = Vec::new();
        for (id, bound) in repeated(buckets, |bucket| bucket.upper_bound) {
            twice.push((id, format!("the bucket le=\"{}\"", Shown(bound))));
        }
        for (id, quantile) in repeated(quantiles, |quantile| quantile.quantile) {
            twice.push((id, format!("the quantile \"{quantile}\"")));
        }
        buckets.sort_by_key(|member| member.series);
        assign_runs(buckets, |id, span| series[id.0 as usize].members = span);
        quantiles.sort_by_key(|member| member.series);
        assign_runs(quantiles, |id, span| series[id.0 as usize].members = span);
        gather_exemplars(exemplars, series);
        for (id, what) in twice {
            let series = self.to.describe(id);
            self.complain(BuildError::Twice { what, series }.to_string());
        }
    }
}

/// The numbers that occur more than once within a series.
fn repeated<T>(members: &[Member<T>], number: impl Fn(&T) -> f64) -> Vec<(SeriesId, f64)> {
    let mut all: Vec<(SeriesId, f64)> =
        members.iter().map(|member| (member.series, number(&member.value))).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.total_cmp(&b.1)));
    let mut repeated: Vec<_> =
        all.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    repeated.dedup();
    repeated
}

/// Sorts members by (series, `order`) unless they are sorted, and sets the range of each series. The
/// error is a member that compares equal to its neighbour.
fn gather<T: Clone>(
    members: &mut [Member<T>],
    reordered: &mut bool,
    order: impl Fn(&T, &T) -> std::cmp::Ordering,
    assign: impl FnMut(SeriesId, Span),
) -> Result<(), (SeriesId, T)> {
    let full = |a: &Member<T>, b: &Member<T>| {
        a.series.cmp(&b.series).then_with(|| order(&a.value, &b.value))
    };
    if !members.is_sorted_by(|a, b| full(a, b).is_lt()) {
        members.sort_by(full);
        *reordered = true;
        if let Some(pair) = members.windows(2).find(|pair| full(&pair[0], &pair[1]).is_eq()) {
            return Err((pair[0].series, pair[0].value.clone()));
        }
    }
    assign_runs(members, assign);
    Ok(())
}

fn gather_exemplars(exemplars: &mut [Member<Exemplar>], series: &mut [SeriesEntry]) {
    exemplars.sort_by_key(|member| member.series);
    assign_runs(exemplars, |id, span| series[id.0 as usize].exemplars = span);
}

fn assign_runs<T>(members: &[Member<T>], mut assign: impl FnMut(SeriesId, Span)) {
    let mut start = 0;
    for run in members.chunk_by(|a, b| a.series == b.series) {
        let end = start + run.len() as u32;
        assign(run[0].series, Span { start, end });
        start = end;
    }
}

impl Exposition {
    /// Some clients write start times as gauges in text (`x_created` next to `x` or `x_total`). These
    /// are not values and must not be merged. They are recognised by the name and the other family,
    /// whatever the TYPE line says.
    fn drop_created(&mut self) {
        let mut found = false;
        for at in 0..self.families.len() {
            let family = &self.families[at];
            if matches!(family.kind, Kind::Gauge | Kind::Untyped)
                && family.series > 0
                && let Some(base) = self.str(family.name).strip_suffix("_created")
                && self.has_start_times(base)
            {
                self.families[at].series = 0;
                found = true;
            }
        }
        if found {
            for entry in &mut self.series {
                if self.families[entry.family.0 as usize].series == 0 && !entry.dropped {
                    entry.dropped = true;
                    self.created_dropped += 1;
                }
            }
        }
    }

    /// Whether there is a family with this name, or with `_total`, that may come with `_created`.
    fn has_start_times(&self, base: &str) -> bool {
        let kind = |name: &str| {
            let family = self.find_hashed(name, self.hasher.family(name))?;
            Some(self.families[family.0 as usize].kind)
        };
        match kind(base) {
            Some(Kind::Counter | Kind::Histogram | Kind::GaugeHistogram | Kind::Summary) => true,
            _ => kind(&format!("{base}_total")) == Some(Kind::Counter),
        }
    }
}
