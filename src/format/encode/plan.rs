//! Decides on the name and type of every family in one exposition before the first is written, because
//! some clashes show only when all names are known.
//!
//! There are two steps. The first is about names as the scraper wants them: after escaping, two names
//! may be equal, or one may be the name of another family's samples. The family whose name did not
//! change stays, and the other is left out. The second is about OpenMetrics, which strips suffixes from
//! names and reserves them for types. A family that would clash because of that loses its type (formats
//! 7, "what OpenMetrics 1.0 cannot hold"): it is written as `unknown` families named like its samples.
//! Those names are unique in the text format already, so this step leaves nothing out.

use std::borrow::Cow;
use std::collections::HashMap;

use super::Options;
use crate::format::escaping::Escaping;
use crate::model::name::is_legacy_label_name;
use crate::model::{FamilyHead, Kind};

/// A family that is to be written.
#[derive(Clone, Copy, Debug)]
pub struct Family<'a> {
    pub head: FamilyHead<'a>,
    /// All its readings obey the rules of OpenMetrics for its type ([`super::fits_openmetrics`]). If
    /// not, OpenMetrics shows it without its type, so that strict readers accept it, too. Other formats
    /// ignore this.
    pub regular: bool,
}

impl<'a> From<FamilyHead<'a>> for Family<'a> {
    fn from(head: FamilyHead<'a>) -> Family<'a> {
        Family { head, regular: true }
    }
}

/// The families of one exposition, in the order they were given.
#[derive(Debug)]
pub struct Plan<'a> {
    families: Vec<Option<Planned<'a>>>,
    left_out: Vec<&'a str>,
}

/// A family as it will be written.
#[derive(Clone, Debug)]
pub struct Planned<'a> {
    pub(super) head: FamilyHead<'a>,
    /// The name in the text formats, escaped as the scraper wants it.
    pub(super) name: Cow<'a, str>,
    /// The label for the states of a stateset.
    pub(super) state_label: Cow<'a, str>,
    pub(super) openmetrics: OpenMetricsType,
}

/// What was decided for one family, without its head: for callers that own the head, and so cannot keep
/// a [`Planned`], which borrows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// `None` where it equals the name in the head.
    name: Option<Box<str>>,
    state_label: Option<Box<str>>,
    openmetrics: OpenMetricsType,
}

impl Decision {
    /// The planned family again; `head` must be that of the plan.
    pub fn of<'a>(&'a self, head: FamilyHead<'a>) -> Planned<'a> {
        let own = |name: &'a Option<Box<str>>| Cow::Borrowed(name.as_deref().unwrap_or(head.name));
        let (name, state_label) = (own(&self.name), own(&self.state_label));
        Planned { head, name, state_label, openmetrics: self.openmetrics }
    }
}

/// What a family is in OpenMetrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpenMetricsType {
    /// Named without `_total`.
    Counter,
    Gauge,
    Unknown,
    Summary,
    Histogram,
    GaugeHistogram,
    /// Named without `_info`.
    Info,
    StateSet,
    /// Histogram or summary without its type: each of its sample names is an unknown family.
    Split,
}

impl<'a> Plan<'a> {
    pub fn new(
        options: Options,
        families: impl IntoIterator<Item = impl Into<Family<'a>>>,
    ) -> Plan<'a> {
        let escaping = options.escaping;
        let families = families.into_iter().map(|family| Planned::new(family.into(), escaping));
        let mut plan = Plan { families: families.map(Some).collect(), left_out: Vec::new() };
        if plan.planned().any(|(_, family)| family.is_escaped()) {
            plan.leave_equal_names_out();
            plan.leave_sample_names_out();
        }
        if options.format.is_openmetrics() {
            while plan.resolve_openmetrics() {}
        }
        plan
    }

    /// How to write the family at this index of the input; `None` if it is left out.
    pub fn get(&self, at: usize) -> Option<&Planned<'a>> {
        self.families.get(at)?.as_ref()
    }

    /// All decisions, in the order of the input.
    pub fn decisions(&self) -> Vec<Option<Decision>> {
        self.families.iter().map(|family| family.as_ref().map(Planned::decision)).collect()
    }

    /// The names of families that clash with others and are not written.
    pub fn left_out(&self) -> &[&'a str] {
        &self.left_out
    }

    fn planned(&self) -> impl Iterator<Item = (usize, &Planned<'a>)> {
        self.families.iter().enumerate().filter_map(|(at, family)| Some((at, family.as_ref()?)))
    }

    fn leave_out(&mut self, at: usize) {
        if let Some(family) = self.families[at].take() {
            self.left_out.push(family.head.name);
        }
    }

    /// Of families with the same name after escaping, keeps the one that had it before, or else the
    /// first.
    fn leave_equal_names_out(&mut self) {
        let mut owners: HashMap<&str, usize> = HashMap::new();
        let mut extra = Vec::new();
        for escaped in [false, true] {
            for (at, family) in self.planned().filter(|(_, f)| f.is_escaped() == escaped) {
                if *owners.entry(&family.name).or_insert(at) != at {
                    extra.push(at);
                }
            }
        }
        extra.into_iter().for_each(|at| self.leave_out(at));
    }

    /// The same for a name that is a sample name of another family.
    fn leave_sample_names_out(&mut self) {
        let owners: HashMap<&str, usize> =
            self.planned().map(|(at, family)| (&*family.name, at)).collect();
        let mut extra = Vec::new();
        for (at, family) in self.planned() {
            let Some((base, suffix)) = split_suffix(&family.name) else { continue };
            let Some((owner_at, owner)) =
                owners.get(base).and_then(|&at| Some((at, self.families[at].as_ref()?)))
            else {
                continue;
            };
            if owner.head.kind.sample_suffixes().contains(&suffix) {
                let other = !family.is_escaped() && owner.is_escaped();
                extra.push(if other { owner_at } else { at });
            }
        }
        extra.into_iter().for_each(|at| self.leave_out(at));
    }

    /// One round of taking types away; true if another round is needed.
    fn resolve_openmetrics(&mut self) -> bool {
        let mut owners: HashMap<&str, usize> = HashMap::with_capacity(self.families.len());
        let mut untyped = Vec::new();
        for (at, family) in self.planned() {
            let &mut owner_at = owners.entry(family.openmetrics_name()).or_insert(at);
            if owner_at != at {
                // At most one of them has exactly this name. A counter takes precedence over an info
                // family.
                let owner = self.families[owner_at].as_ref();
                let other = owner.is_some_and(|owner| owner.rank() > family.rank());
                untyped.push(if other { owner_at } else { at });
            }
        }
        for (at, family) in self.planned() {
            let Some((base, suffix)) = split_suffix(family.openmetrics_name()) else { continue };
            let Some((owner_at, owner)) =
                owners.get(base).and_then(|&at| Some((at, self.families[at].as_ref()?)))
            else {
                continue;
            };
            if owner.openmetrics.suffixes().contains(&suffix) {
                untyped.push(if family.rank() > 0 { at } else { owner_at });
            }
        }
        let mut changed = false;
        for at in untyped {
            if let Some(family) = &mut self.families[at] {
                let without = family.openmetrics.without_type();
                changed |= without != family.openmetrics;
                family.openmetrics = without;
            }
        }
        changed
    }
}

impl<'a> Planned<'a> {
    fn new(family: Family<'a>, escaping: Escaping) -> Planned<'a> {
        let head = family.head;
        let name = escaping.metric_name(head.name);
        let state_label = if head.kind == Kind::StateSet && !is_legacy_label_name(&name) {
            Cow::Owned(escaping.label_name(&name).into_owned())
        } else {
            name.clone()
        };
        let typed = match head.kind {
            Kind::Counter if has_base(&name, "_total") => OpenMetricsType::Counter,
            Kind::Counter | Kind::Untyped => OpenMetricsType::Unknown,
            Kind::Gauge => OpenMetricsType::Gauge,
            Kind::Summary => OpenMetricsType::Summary,
            Kind::Histogram => OpenMetricsType::Histogram,
            Kind::GaugeHistogram => OpenMetricsType::GaugeHistogram,
            Kind::Info if has_base(&name, "_info") => OpenMetricsType::Info,
            Kind::StateSet if state_label == name => OpenMetricsType::StateSet,
            Kind::Info | Kind::StateSet => OpenMetricsType::Gauge,
        };
        let openmetrics = if family.regular { typed } else { typed.without_type() };
        Planned { head, name, state_label, openmetrics }
    }

    fn decision(&self) -> Decision {
        let own = |name: &str| (name != self.head.name).then(|| name.into());
        Decision {
            name: own(&self.name),
            state_label: own(&self.state_label),
            openmetrics: self.openmetrics,
        }
    }

    /// Several encoders can write parts of it, which together make the whole.
    pub fn is_divisible(&self) -> bool {
        self.openmetrics != OpenMetricsType::Split
    }

    fn is_escaped(&self) -> bool {
        self.name != self.head.name
    }

    /// The name of the family in OpenMetrics, which for some types is not that of its samples.
    pub(super) fn openmetrics_name(&self) -> &str {
        let suffix = self.openmetrics.own_suffix();
        self.name.strip_suffix(suffix).unwrap_or(&self.name)
    }

    /// Of two families with the same OpenMetrics name, the one with the larger rank loses its type.
    fn rank(&self) -> u8 {
        match self.openmetrics {
            OpenMetricsType::Info => 2,
            OpenMetricsType::Counter => 1,
            _ => 0,
        }
    }
}

impl OpenMetricsType {
    pub(super) fn word(self) -> &'static str {
        match self {
            OpenMetricsType::Counter => "counter",
            OpenMetricsType::Gauge => "gauge",
            OpenMetricsType::Unknown | OpenMetricsType::Split => "unknown",
            OpenMetricsType::Summary => "summary",
            OpenMetricsType::Histogram => "histogram",
            OpenMetricsType::GaugeHistogram => "gaugehistogram",
            OpenMetricsType::Info => "info",
            OpenMetricsType::StateSet => "stateset",
        }
    }

    /// The suffix that samples have, but the family does not.
    pub(super) fn own_suffix(self) -> &'static str {
        match self {
            OpenMetricsType::Counter => "_total",
            OpenMetricsType::Info => "_info",
            _ => "",
        }
    }

    /// Sample names that a family of this type claims besides its own (formats 5), whether it
    /// writes them or not.
    fn suffixes(self) -> &'static [&'static str] {
        match self {
            OpenMetricsType::Counter => &["_total", "_created"],
            OpenMetricsType::Summary => &["_count", "_sum", "_created"],
            OpenMetricsType::Histogram => &["_bucket", "_count", "_sum", "_created"],
            OpenMetricsType::GaugeHistogram => &["_bucket", "_gcount", "_gsum"],
            OpenMetricsType::Info => &["_info"],
            OpenMetricsType::Split => &["_bucket", "_count", "_sum"],
            OpenMetricsType::Gauge | OpenMetricsType::Unknown | OpenMetricsType::StateSet => &[],
        }
    }

    /// The type for the same samples that has no rules for them.
    fn without_type(self) -> OpenMetricsType {
        match self {
            OpenMetricsType::Counter | OpenMetricsType::Unknown => OpenMetricsType::Unknown,
            OpenMetricsType::Gauge | OpenMetricsType::Info | OpenMetricsType::StateSet => {
                OpenMetricsType::Gauge
            }
            OpenMetricsType::Summary
            | OpenMetricsType::Histogram
            | OpenMetricsType::GaugeHistogram
            | OpenMetricsType::Split => OpenMetricsType::Split,
        }
    }
}

fn has_base(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|base| !base.is_empty())
}

/// Splits a name at its last `_` if what follows may be the suffix of a sample.
fn split_suffix(name: &str) -> Option<(&str, &str)> {
    const SUFFIXES: [&str; 8] =
        ["_total", "_created", "_bucket", "_count", "_sum", "_gcount", "_gsum", "_info"];
    let (base, suffix) = name.split_at(name.rfind('_')?);
    SUFFIXES.contains(&suffix).then_some((base, suffix))
}
