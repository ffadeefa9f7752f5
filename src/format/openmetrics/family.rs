//! Families of an OpenMetrics body: their metadata, and the sample names that they claim.

use std::borrow::Cow;

use foldhash::quality::RandomState;
use hashbrown::HashMap;

use crate::format::lex::{Excerpt, Flaw, Lexed, Token};
use crate::model::{FamilyId, Kind, labels};

/// What a sample is to its metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The one value of a gauge or of an unknown metric.
    Value,
    Info,
    Total,
    Quantile,
    State,
    Bucket,
    Sum,
    Count,
    /// The start time.
    Created,
}

/// The samples of each kind: suffix and meaning.
fn samples(kind: Kind) -> &'static [(&'static str, Role)] {
    match kind {
        Kind::Gauge | Kind::Untyped => &[("", Role::Value)],
        Kind::Counter => &[("_total", Role::Total), ("_created", Role::Created)],
        Kind::Info => &[("_info", Role::Info)],
        Kind::StateSet => &[("", Role::State)],
        Kind::Summary => &[
            ("", Role::Quantile),
            ("_sum", Role::Sum),
            ("_count", Role::Count),
            ("_created", Role::Created),
        ],
        Kind::Histogram => &[
            ("_bucket", Role::Bucket),
            ("_sum", Role::Sum),
            ("_count", Role::Count),
            ("_created", Role::Created),
        ],
        Kind::GaugeHistogram => {
            &[("_bucket", Role::Bucket), ("_gsum", Role::Sum), ("_gcount", Role::Count)]
        }
    }
}

/// All suffixes of [`samples`].
const SUFFIXES: [&str; 8] =
    ["_total", "_created", "_info", "_bucket", "_sum", "_count", "_gsum", "_gcount"];

/// The family whose lines are being read.
#[derive(Debug)]
pub(super) struct Family<'a> {
    pub(super) name: Cow<'a, str>,
    /// The offset of its first line in the body.
    offset: usize,
    kind: Option<Kind>,
    help: Option<Cow<'a, str>>,
    unit: Option<Token<'a>>,
    /// Set by the first sample, after which no metadata may follow.
    pub(super) id: Option<FamilyId>,
}

impl<'a> Family<'a> {
    pub(super) fn new(name: Cow<'a, str>, offset: usize) -> Family<'a> {
        Family { name, offset, kind: None, help: None, unit: None, id: None }
    }

    /// The kind; without a TYPE line it is unknown.
    pub(super) fn kind(&self) -> Kind {
        self.kind.unwrap_or(Kind::Untyped)
    }

    pub(super) fn typed(&self) -> bool {
        self.kind.is_some()
    }

    pub(super) fn help(&self) -> &str {
        self.help.as_deref().unwrap_or_default()
    }

    pub(super) fn unit(&self) -> &str {
        self.unit.map_or("", |unit| unit.text)
    }

    /// The name in the model, which is that of samples in the text format.
    pub(super) fn model_name(&self) -> Cow<'_, str> {
        match self.kind() {
            Kind::Counter => Cow::Owned(format!("{}_total", self.name)),
            Kind::Info => Cow::Owned(format!("{}_info", self.name)),
            _ => Cow::Borrowed(&self.name),
        }
    }

    /// What a sample name means here, if it belongs to this family.
    #[inline]
    pub(super) fn role(&self, sample: &str) -> Option<Role> {
        let suffix = sample.strip_prefix(&*self.name)?;
        samples(self.kind()).iter().find(|(known, _)| *known == suffix).map(|&(_, role)| role)
    }

    /// The label that distinguishes samples of one metric.
    pub(super) fn reserved_label(&self) -> Option<Cow<'a, str>> {
        match self.kind() {
            Kind::StateSet => Some(self.name.clone()),
            kind => kind.sample_label().map(Cow::Borrowed),
        }
    }

    pub(super) fn set_kind(&mut self, word: Token<'a>, at: usize) -> Lexed<()> {
        self.once(self.kind.is_some(), "TYPE", at)?;
        self.kind = Some(match word.text {
            "counter" => Kind::Counter,
            "gauge" => Kind::Gauge,
            "histogram" => Kind::Histogram,
            "gaugehistogram" => Kind::GaugeHistogram,
            "stateset" => Kind::StateSet,
            "info" => Kind::Info,
            "summary" => Kind::Summary,
            "unknown" => Kind::Untyped,
            _ => {
                return Err(word.fail(
                    "counter, gauge, histogram, gaugehistogram, stateset, info, summary or unknown",
                ));
            }
        });
        Ok(())
    }

    /// An empty text means no help, but still counts as the one HELP line of the family.
    pub(super) fn set_help(&mut self, text: Token<'a>, at: usize) -> Lexed<()> {
        self.once(self.help.is_some(), "HELP", at)?;
        self.help = Some(labels::unescape(text.text));
        Ok(())
    }

    /// The same for the unit.
    pub(super) fn set_unit(&mut self, unit: Token<'a>, at: usize) -> Lexed<()> {
        self.once(self.unit.is_some(), "UNIT", at)?;
        self.unit = Some(unit);
        Ok(())
    }

    fn once(&self, given: bool, what: &str, at: usize) -> Lexed<()> {
        let name = Excerpt(&self.name);
        if self.id.is_some() {
            Err(Flaw::new(at, format!("{what} of metric {name} comes after its samples")))
        } else if given {
            Err(Flaw::new(at, format!("second {what} of metric {name}")))
        } else {
            Ok(())
        }
    }

    fn check_unit(&self) -> Lexed<()> {
        let Some(unit) = self.unit.filter(|unit| !unit.text.is_empty()) else { return Ok(()) };
        if matches!(self.kind(), Kind::Info | Kind::StateSet) {
            let message = format!("{} metrics have no unit", self.kind());
            return Err(Flaw::new(unit.offset, message));
        }
        let base = self.name.strip_suffix(unit.text);
        if base.is_some_and(|base| base.ends_with('_')) {
            return Ok(());
        }
        let (name, word) = (Excerpt(&self.name), Excerpt(unit.text));
        let message = format!("metric {name} must end in an underscore and its unit {word}");
        Err(Flaw::new(unit.offset, message))
    }

    /// For a sample with the bare name, if the kind requires suffixes.
    #[cold]
    pub(super) fn no_such_sample(&self, at: usize) -> Flaw {
        let suffixes: Vec<_> = samples(self.kind()).iter().map(|(suffix, _)| *suffix).collect();
        let (name, kind, suffixes) = (Excerpt(&self.name), self.kind(), suffixes.join(", "));
        Flaw::new(at, format!("the samples of {kind} {name} end in {suffixes}"))
    }
}

/// All families so far. No two may claim the same sample name, whether they use it or not. Every family
/// claims its bare name.
#[derive(Debug, Default)]
pub(super) struct Families<'a> {
    kinds: HashMap<Cow<'a, str>, Kind, RandomState>,
    /// Whether the name of some family ends in one of [`SUFFIXES`].
    suffixed: bool,
}

impl<'a> Families<'a> {
    pub(super) fn has(&self, name: &str) -> bool {
        self.kinds.contains_key(name)
    }

    /// Ends the metadata of a family.
    pub(super) fn declare(&mut self, family: &Family<'a>) -> Lexed<()> {
        family.check_unit()?;
        let kind = family.kind();
        if let Some((owner, sample)) = self.clash(&family.name, kind) {
            let (name, owner, sample) = (Excerpt(&family.name), Excerpt(owner), Excerpt(&sample));
            let message = format!("metrics {name} and {owner} both lay claim to the name {sample}");
            return Err(Flaw::new(family.offset, message));
        }
        self.suffixed |= SUFFIXES.iter().any(|suffix| family.name.ends_with(suffix));
        self.kinds.insert(family.name.clone(), kind);
        Ok(())
    }

    /// The family that clashes with a new one, and the name that both claim. One of the two must claim
    /// it as its bare name: as no suffix ends in another, suffixed names of different families never
    /// clash.
    fn clash<'n>(&'n self, name: &'n str, kind: Kind) -> Option<(&'n str, Cow<'n, str>)> {
        let claims = |kind, suffix| samples(kind).iter().any(|(known, _)| *known == suffix);
        for suffix in SUFFIXES {
            if let Some(base) = name.strip_suffix(suffix)
                && self.kinds.get(base).is_some_and(|&owner| claims(owner, suffix))
            {
                return Some((base, Cow::Borrowed(name)));
            }
        }
        if self.suffixed {
            for (suffix, _) in samples(kind) {
                let sample = format!("{name}{suffix}");
                if !suffix.is_empty()
                    && let Some((owner, _)) = self.kinds.get_key_value(sample.as_str())
                {
                    return Some((owner, Cow::Owned(sample)));
                }
            }
        }
        None
    }
}
