//! Plain values that everything else shares: the content of pushes and of scrapes.
//!
//! Nothing here does I/O, locks, logs or knows the time. Terms are Prometheus' own: a *family* is one
//! metric name with its kind, help and unit; a *series* is one label set of a family; an *exposition*
//! is the set of families in one body.

pub mod exposition;
pub mod grouping;
pub mod labels;
pub mod name;
pub mod number;
pub mod packed;
pub mod reading;
pub mod rule;
pub mod scope;
pub mod ttl;

pub use exposition::{Builder, Exposition, FamilyId, SeriesId};
pub use grouping::Grouping;
pub use labels::{Label, LabelError};
pub use number::{Number, Shown};
pub use reading::{FamilyHead, HistogramReading, ReadBuffer, Reading};
pub use rule::{GaugeRule, UntypedRule};
pub use scope::{LabelScope, OutOfScope};
pub use ttl::Ttl;

/// What kind of metric a family holds. One family has one kind (merge-semantics 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Counter,
    Gauge,
    Untyped,
    Summary,
    Histogram,
    GaugeHistogram,
    Info,
    StateSet,
}

impl Kind {
    pub const ALL: [Kind; 8] = [
        Kind::Counter,
        Kind::Gauge,
        Kind::Untyped,
        Kind::Summary,
        Kind::Histogram,
        Kind::GaugeHistogram,
        Kind::Info,
        Kind::StateSet,
    ];

    /// The inverse of `kind as u8`.
    pub fn from_u8(kind: u8) -> Kind {
        Kind::ALL[kind as usize]
    }

    /// The word in the JSON API and in error messages: as in OpenMetrics, except for `untyped`.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Untyped => "untyped",
            Kind::Summary => "summary",
            Kind::Histogram => "histogram",
            Kind::GaugeHistogram => "gaugehistogram",
            Kind::Info => "info",
            Kind::StateSet => "stateset",
        }
    }

    /// Name suffixes, besides the bare name, under which the samples of a family of this kind appear in
    /// the text formats (formats 3, "suffix logic"). No other family may have such a name.
    pub fn sample_suffixes(self) -> &'static [&'static str] {
        match self {
            Kind::Summary => &["_sum", "_count"],
            Kind::Histogram | Kind::GaugeHistogram => &["_sum", "_count", "_bucket"],
            _ => &[],
        }
    }

    /// The label that distinguishes the samples of a series in the text formats, so that no series may
    /// have it. For a stateset it is the name of the family.
    pub fn sample_label(self) -> Option<&'static str> {
        match self {
            Kind::Histogram | Kind::GaugeHistogram => Some("le"),
            Kind::Summary => Some("quantile"),
            _ => None,
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// One observation that is kept with a counter or bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// Canonical label text, see [`labels`].
    pub labels: Box<str>,
    pub value: f64,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: Option<i64>,
}

impl Exemplar {
    /// The most characters that the names and values of its labels may have together. OpenMetrics
    /// allows no more and Prometheus stores no more; and every bucket can have an exemplar.
    pub const CHARACTERS_MAX: usize = 128;
}

/// Exponential ("native") buckets of one histogram, with absolute counts, not deltas (formats 10).
#[derive(Clone, Debug, PartialEq)]
pub struct NativeBuckets {
    /// -4 to 8; bucket `i` ends at `2^(i * 2^-schema)`.
    pub schema: i8,
    pub zero_threshold: f64,
    pub zero_count: Number,
    /// (index, count), ascending by index; counts may be zero.
    pub positive: Vec<(i32, Number)>,
    pub negative: Vec<(i32, Number)>,
}
