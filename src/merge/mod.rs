//! What a push means: the state of one series, and how a pushed value is added to it
//! (merge-semantics 1). Pure arithmetic; no clock, no lock, no I/O.
//!
//! - [`check`] says whether a pushed value may be merged at all, whatever is stored.
//! - [`State::knows`] says whether it fits the series it is for.
//! - [`State::merge`] then cannot fail, and does not depend on the order of pushes.
//! - [`State::read`] rounds, once, for a scrape.

pub mod exact;
pub mod histogram;
pub mod native;
mod record;

use std::cmp::Ordering;

use crate::model::exposition::{PushedSeries, PushedValue, StatesOf};
use crate::model::{Exemplar, GaugeRule, Kind, Number, ReadBuffer, Shown, UntypedRule};
use exact::Exact;
use histogram::{Histogram, Layout, PushedHistogram, add_number, read_number};

/// Why a well-formed value is not merged (422).
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("{what} {} is not finite", Shown(*.value))]
    NotFinite { what: &'static str, value: f64 },
    #[error("{what} {} is negative", Shown(*.value))]
    Negative { what: &'static str, value: f64 },
    #[error("an info value must be 1, not {}", Shown(*.0))]
    Info(f64),
    #[error("a bucket bound is not a number")]
    BucketBound,
    #[error("the bucket le=\"{}\" is lower than the one before; buckets must be cumulative", Shown(*.bound))]
    FallingBuckets { bound: f64 },
    #[error("the count is {}, but the buckets hold {}", Shown(*.count), Shown(*.buckets))]
    CountMismatch { count: f64, buckets: f64 },
    #[error("there is neither a count nor a +Inf bucket")]
    NoCount,
    #[error("the summary has no count")]
    NoSummaryCount,
    #[error("there is no sum, but earlier pushes had one")]
    NoSum,
    #[error("native histogram schema {schema} is not in -4 to 8")]
    NativeSchema { schema: i8 },
    #[error("bucket {index} of schema {schema} lies where no number is")]
    BucketIndex { schema: i8, index: i32 },
    #[error("zero threshold {threshold} is not a finite number >= 0")]
    ZeroThreshold { threshold: f64 },
    #[error("samples without a type are refused here (push.untyped)")]
    Untyped,
    #[error("{kind} cannot be merged by the rule {rule}")]
    Rule { kind: Kind, rule: GaugeRule },
    #[error("the gauge is merged by the rule {stored}, the push asks for {asked}")]
    OtherRule { stored: GaugeRule, asked: GaugeRule },
}

impl Refusal {
    /// What the sender can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Refusal::NotFinite { .. } => {
                "one such value would spoil the sum for ever: push finite numbers"
            }
            Refusal::Negative { .. } => {
                "only gauges may fall: push what was counted since the last push"
            }
            Refusal::Info(_) => "put the information into labels and push the value 1",
            Refusal::BucketBound => "give every bucket a number as le",
            Refusal::FallingBuckets { .. } => "each bucket counts all observations up to its bound",
            Refusal::CountMismatch { .. } => {
                "_count must equal the +Inf bucket; push both from one snapshot"
            }
            Refusal::NoCount => "push _count or a bucket le=\"+Inf\"",
            Refusal::NoSummaryCount => "push _count, with or without _sum; quantiles are dropped",
            Refusal::NoSum => {
                "push _sum with every push of this series, or delete the series first"
            }
            Refusal::NativeSchema { .. } => "reduce the resolution of the histogram",
            Refusal::BucketIndex { .. } => {
                "count the smallest numbers in the first bucket and infinity in the last"
            }
            Refusal::ZeroThreshold { .. } => "use a zero threshold of 0 or above",
            Refusal::Untyped => "add a # TYPE line",
            Refusal::Rule { .. } => "use last or sum",
            Refusal::OtherRule { .. } => {
                "push with the same Push-Merge, or set one rule for all in the configuration"
            }
        }
    }
}

/// When a value was pushed, in nanoseconds since the Unix epoch. The larger stamp wins, then the larger
/// value, so that the order of arrival does not matter.
pub type Stamp = i64;

/// A NaN, the smallest value of all in the order of [`f64::total_cmp`].
const LEAST: f64 = f64::from_bits(u64::MAX);

/// How samples of one series merge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MergeRules {
    pub gauge: GaugeRule,
    pub untyped: UntypedRule,
}

/// The merged value of one series. Every series contains one, so rare variants are boxed to keep it
/// small.
#[derive(Clone, Debug)]
pub enum State {
    /// Counters, untyped samples, gauges by the rule `sum`.
    Sum(Exact),
    /// The same with an exemplar.
    Marked(Box<Marked>),
    Last {
        value: f64,
        stamp: Stamp,
    },
    Min(f64),
    Max(f64),
    Mean(Box<Mean>),
    Summary(Box<Summary>),
    Histogram(Histogram),
    /// A gauge histogram by the rule `last`.
    LastHistogram(Box<LastHistogram>),
    StateSet(Box<StateSet>),
    Info,
}

const _: () = assert!(size_of::<State>() == 24);

#[derive(Clone, Debug)]
pub struct Marked {
    total: Exact,
    /// The best of all that were pushed.
    exemplar: Exemplar,
}

#[derive(Clone, Debug, Default)]
pub struct Mean {
    total: Exact,
    count: u64,
}

#[derive(Clone, Debug)]
pub struct Summary {
    count: Exact,
    /// Absent if the first push had none.
    sum: Option<Exact>,
}

#[derive(Clone, Debug)]
pub struct LastHistogram {
    histogram: Histogram,
    stamp: Stamp,
}

/// One register for the whole set: states set by different pushes never mix.
#[derive(Clone, Debug)]
pub struct StateSet {
    states: Box<[(Box<str>, bool)]>,
    stamp: Stamp,
}

/// Whether a pushed value may be merged, whatever is stored.
///
/// # Errors
/// See the table in merge-semantics 1, column "refuse".
pub fn check(kind: Kind, series: &PushedSeries<'_>, rules: MergeRules) -> Result<(), Refusal> {
    match (kind, series.value) {
        (Kind::Counter, PushedValue::Scalar(value)) => {
            finite(value, "counter").and_then(|()| not_negative(value, "counter"))
        }
        (Kind::Gauge, PushedValue::Scalar(value)) => check_gauge(rules.gauge, value),
        (Kind::Untyped, PushedValue::Scalar(value)) => match rules.untyped {
            UntypedRule::Sum => finite(value, "untyped sample"),
            UntypedRule::Last => Ok(()),
            UntypedRule::Reject => Err(Refusal::Untyped),
        },
        (Kind::Info, PushedValue::Scalar(value)) if value != 1.0 => Err(Refusal::Info(value)),
        (Kind::GaugeHistogram, PushedValue::Histogram { .. })
            if !matches!(rules.gauge, GaugeRule::Last | GaugeRule::Sum) =>
        {
            Err(Refusal::Rule { kind, rule: rules.gauge })
        }
        (_, PushedValue::Histogram { .. }) => PushedHistogram::of(series.value, series.exemplars)
            .map_or(Ok(()), |pushed| pushed.check()),
        (_, PushedValue::Summary { count, sum, .. }) => {
            let count = count.ok_or(Refusal::NoSummaryCount)?;
            finite(count.as_f64(), "count")?;
            not_negative(count.as_f64(), "count")?;
            match sum {
                Some(sum) => finite(sum, "sum").and_then(|()| not_negative(sum, "sum")),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

fn check_gauge(rule: GaugeRule, value: f64) -> Result<(), Refusal> {
    match rule {
        GaugeRule::Last => Ok(()),
        GaugeRule::Min | GaugeRule::Max if value.is_nan() => {
            Err(Refusal::NotFinite { what: "gauge", value })
        }
        GaugeRule::Min | GaugeRule::Max => Ok(()),
        GaugeRule::Sum | GaugeRule::Mean => finite(value, "gauge"),
    }
}

fn finite(value: f64, what: &'static str) -> Result<(), Refusal> {
    if value.is_finite() { Ok(()) } else { Err(Refusal::NotFinite { what, value }) }
}

fn not_negative(value: f64, what: &'static str) -> Result<(), Refusal> {
    if value >= 0.0 { Ok(()) } else { Err(Refusal::Negative { what, value }) }
}

impl State {
    /// The identity of merging for a series that the given push creates.
    pub fn new(kind: Kind, rules: MergeRules, value: &PushedValue<'_>) -> State {
        match (kind, value) {
            (Kind::Histogram, PushedValue::Histogram { sum, .. }) => {
                State::Histogram(Histogram::new(sum.is_some()))
            }
            (Kind::GaugeHistogram, PushedValue::Histogram { sum, .. }) => {
                State::gauge_histogram(Histogram::new(sum.is_some()), rules.gauge)
            }
            (Kind::Summary, PushedValue::Summary { sum, .. }) => {
                let sum = sum.map(|_| Exact::ZERO);
                State::Summary(Box::new(Summary { count: Exact::ZERO, sum }))
            }
            (Kind::StateSet, _) => {
                State::StateSet(Box::new(StateSet { states: Box::default(), stamp: Stamp::MIN }))
            }
            (Kind::Info, _) => State::Info,
            (Kind::Gauge, _) => State::empty_gauge(rules.gauge),
            (Kind::Untyped, _) if rules.untyped == UntypedRule::Last => {
                State::empty_gauge(GaugeRule::Last)
            }
            _ => State::empty_gauge(GaugeRule::Sum),
        }
    }

    /// The identity of merging by this rule.
    fn empty_gauge(rule: GaugeRule) -> State {
        match rule {
            GaugeRule::Last => State::Last { value: LEAST, stamp: Stamp::MIN },
            GaugeRule::Sum => State::Sum(Exact::ZERO),
            GaugeRule::Min => State::Min(f64::INFINITY),
            GaugeRule::Max => State::Max(f64::NEG_INFINITY),
            GaugeRule::Mean => State::Mean(Box::default()),
        }
    }

    /// The state with which `histogram` continues under this rule. Any push counts as later.
    fn gauge_histogram(histogram: Histogram, rule: GaugeRule) -> State {
        match rule {
            GaugeRule::Sum => State::Histogram(histogram),
            _ => State::LastHistogram(Box::new(LastHistogram { histogram, stamp: Stamp::MIN })),
        }
    }

    /// The rule by which a gauge in this state merges.
    pub fn gauge_rule(&self) -> GaugeRule {
        match self {
            State::Sum(_) | State::Marked(_) | State::Histogram(_) => GaugeRule::Sum,
            State::Min(_) => GaugeRule::Min,
            State::Max(_) => GaugeRule::Max,
            State::Mean(_) => GaugeRule::Mean,
            _ => GaugeRule::Last,
        }
    }

    /// Continues from the value shown now under another rule, because an operator has changed the
    /// rules. That value counts as older than any push to come.
    pub fn change_rule(&mut self, rule: GaugeRule) {
        let value = match std::mem::replace(self, State::Info) {
            State::Histogram(histogram) => return *self = State::gauge_histogram(histogram, rule),
            State::LastHistogram(last) => {
                return *self = State::gauge_histogram(last.histogram, rule);
            }
            State::Sum(total) => total.to_f64(),
            State::Marked(marked) => marked.total.to_f64(),
            State::Last { value, .. } | State::Min(value) | State::Max(value) => value,
            State::Mean(mean) => mean.total.mean(mean.count),
            other => return *self = other,
        };
        *self = State::empty_gauge(rule);
        // A value that the new rule would refuse is dropped.
        if check_gauge(rule, value).is_ok() {
            self.merge_scalar(value, Stamp::MIN);
        }
    }

    /// Whether the value can be merged into the state as it is. If not, buckets are missing, and
    /// [`State::grow`] adds them. A histogram never forgets a bound.
    ///
    /// # Errors
    /// If it cannot be merged at all.
    pub fn knows(&self, series: &PushedSeries<'_>) -> Result<bool, Refusal> {
        match (self, PushedHistogram::of(series.value, series.exemplars)) {
            (State::Histogram(histogram), Some(pushed)) => histogram.knows(&pushed),
            (State::LastHistogram(last), Some(pushed)) => {
                Ok(last.histogram.grown(&pushed).is_none())
            }
            (State::Summary(summary), _) => match series.value {
                PushedValue::Summary { sum: None, .. } if summary.sum.is_some() => {
                    Err(Refusal::NoSum)
                }
                _ => Ok(true),
            },
            _ => Ok(true),
        }
    }

    /// The bucket bounds of a histogram, without `+Inf`.
    pub fn bounds(&self) -> Option<&Layout> {
        match self {
            State::Histogram(histogram) => histogram.bounds(),
            State::LastHistogram(last) => last.histogram.bounds(),
            _ => None,
        }
    }

    /// Bucket bounds after growing for this value; `None` if nothing grows.
    pub fn grown(&self, series: &PushedSeries<'_>) -> Option<Vec<f64>> {
        let pushed = PushedHistogram::of(series.value, series.exemplars)?;
        match self {
            State::Histogram(histogram) => histogram.grown(&pushed),
            State::LastHistogram(last) => last.histogram.grown(&pushed),
            _ => None,
        }
    }

    /// Makes room for the bounds that [`State::grown`] returned.
    pub fn grow(&mut self, layout: Layout) {
        match self {
            State::Histogram(histogram) => histogram.set_layout(layout),
            State::LastHistogram(last) => last.histogram.set_layout(layout),
            _ => {}
        }
    }

    /// Adds a value that [`check`] has accepted and whose buckets the state [`knows`](State::knows).
    pub fn merge(&mut self, series: &PushedSeries<'_>, stamp: Stamp) {
        match (self, series.value) {
            (State::Info, PushedValue::Scalar(_)) => {}
            (state, PushedValue::Scalar(value)) => {
                state.merge_scalar(value, stamp);
                series.exemplars.iter().for_each(|offered| state.offer(offered));
            }
            (State::Summary(summary), PushedValue::Summary { count, sum, .. }) => {
                add_number(&mut summary.count, count.unwrap_or_default());
                if let (Some(total), Some(sum)) = (&mut summary.sum, sum) {
                    total.add_f64(sum);
                }
            }
            (State::Histogram(histogram), _) => {
                if let Some(pushed) = PushedHistogram::of(series.value, series.exemplars) {
                    histogram.merge(&pushed);
                }
            }
            (State::LastHistogram(last), _) => {
                if let Some(pushed) = PushedHistogram::of(series.value, series.exemplars)
                    && stamp >= last.stamp
                {
                    let candidate = last.histogram.replaced(&pushed);
                    if stamp > last.stamp {
                        last.histogram = candidate;
                    } else {
                        last.histogram.keep_larger(candidate, &pushed);
                    }
                    last.stamp = stamp;
                }
            }
            (State::StateSet(held), PushedValue::StateSet(new)) => {
                if stamp > held.stamp || stamp == held.stamp && on(new) > on_held(&held.states) {
                    held.states = new.iter().map(|state| (state.name.clone(), state.on)).collect();
                    held.stamp = stamp;
                }
            }
            (state, value) => debug_assert!(false, "{state:?} met {value:?}"),
        }
    }

    /// Keeps the exemplar if this is a sum without a better one.
    fn offer(&mut self, offered: &Exemplar) {
        match self {
            State::Sum(total) => {
                let (total, exemplar) = (std::mem::take(total), offered.clone());
                *self = State::Marked(Box::new(Marked { total, exemplar }));
            }
            State::Marked(marked) if better_exemplar(offered, &marked.exemplar) => {
                marked.exemplar = offered.clone();
            }
            _ => {}
        }
    }

    fn merge_scalar(&mut self, new: f64, stamp: Stamp) {
        // An operator may have changed the rule since the value was checked.
        if check_gauge(self.gauge_rule(), new).is_err() {
            return;
        }
        match self {
            State::Sum(total) => total.add_f64(new),
            State::Marked(marked) => marked.total.add_f64(new),
            State::Last { value, stamp: held } => {
                if stamp.cmp(held).then_with(|| new.total_cmp(value)).is_gt() {
                    (*value, *held) = (new, stamp);
                }
            }
            // Not f64::min and f64::max: these treat both zeros as equal and may return either.
            State::Min(value) => {
                if new.total_cmp(value).is_lt() {
                    *value = new;
                }
            }
            State::Max(value) => {
                if new.total_cmp(value).is_gt() {
                    *value = new;
                }
            }
            State::Mean(mean) => {
                mean.total.add_f64(new);
                mean.count += 1;
            }
            state => debug_assert!(false, "{state:?} met {new}"),
        }
    }

    /// The value to show, rounded once.
    pub fn read(&self, kind: Kind, native_limit: usize, into: &mut ReadBuffer) {
        match self {
            State::Sum(total) => into.set_scalar(kind, total.to_f64(), None),
            State::Marked(marked) => {
                into.set_scalar(kind, marked.total.to_f64(), Some(&marked.exemplar));
            }
            State::Last { value, .. } | State::Min(value) | State::Max(value) => {
                into.set_scalar(kind, *value, None);
            }
            State::Mean(mean) => into.set_scalar(kind, mean.total.mean(mean.count), None),
            State::Summary(summary) => {
                let sum = summary.sum.as_ref().map(Exact::to_f64);
                into.set_summary(read_number(&summary.count), sum);
            }
            State::Histogram(histogram) => histogram.read(native_limit, into.set_histogram()),
            State::LastHistogram(last) => {
                last.histogram.read(native_limit, into.set_histogram());
            }
            State::StateSet(set) => into.set_states(&set.states),
            State::Info => into.set_scalar(kind, 1.0, None),
        }
    }

    /// Bytes owned beyond the value itself.
    pub fn heap_bytes(&self) -> usize {
        match self {
            State::Sum(total) => total.heap_bytes(),
            State::Marked(marked) => {
                let labels = marked.exemplar.labels.len();
                size_of::<Marked>() + marked.total.heap_bytes() + labels
            }
            State::Mean(mean) => size_of::<Mean>() + mean.total.heap_bytes(),
            State::Summary(summary) => {
                let sum = summary.sum.as_ref().map_or(0, Exact::heap_bytes);
                size_of::<Summary>() + summary.count.heap_bytes() + sum
            }
            State::Histogram(histogram) => histogram.heap_bytes(),
            State::LastHistogram(last) => size_of::<LastHistogram>() + last.histogram.heap_bytes(),
            State::StateSet(set) => {
                let names = set.states.iter().map(|(name, _)| name.len()).sum::<usize>();
                size_of::<StateSet>() + size_of_val(&*set.states) + names
            }
            _ => 0,
        }
    }
}

fn on(states: StatesOf<'_>) -> Vec<(&str, bool)> {
    states.iter().map(|state| (&*state.name, state.on)).collect()
}

fn on_held(states: &[(Box<str>, bool)]) -> Vec<(&str, bool)> {
    states.iter().map(|(name, on)| (&**name, *on)).collect()
}

fn better_exemplar(offered: &Exemplar, held: &Exemplar) -> bool {
    exemplar_order(offered, held).is_gt()
}

/// The better exemplar is the later one, then the one with larger labels, then the larger value. The
/// order is total, so the best of several does not depend on their order.
fn exemplar_order(a: &Exemplar, b: &Exemplar) -> Ordering {
    let by = a.timestamp_ms.cmp(&b.timestamp_ms);
    by.then_with(|| a.labels.cmp(&b.labels)).then_with(|| a.value.total_cmp(&b.value))
}

/// Whether sums of such values obey the rules of OpenMetrics for their type. Those that do not are
/// written without a type, because strict readers would refuse them (formats 7).
pub fn is_regular(kind: Kind, series: &PushedSeries<'_>) -> bool {
    let whole = |count: &Number| matches!(count, Number::Int(_));
    match series.value {
        // An untyped series may turn out to be a counter.
        PushedValue::Scalar(value) => {
            !matches!(kind, Kind::Counter | Kind::Untyped) || value >= 0.0
        }
        PushedValue::StateSet(_) => true,
        PushedValue::Summary { count, .. } => count.as_ref().is_none_or(whole),
        PushedValue::Histogram { count, sum, buckets, .. } => {
            let below = buckets.iter().next().is_some_and(|first| first.upper_bound < 0.0);
            // A negative sum would be a counter that falls, except in a gauge histogram.
            let is_gauge = kind == Kind::GaugeHistogram;
            sum.is_some_and(|sum| sum >= 0.0 || (is_gauge && below && sum < 0.0))
                && (is_gauge || !below)
                && count.as_ref().is_none_or(whole)
                && buckets.iter().all(|bucket| whole(&bucket.cumulative_count))
        }
    }
}

/// Whether `offered` is the better help text: the longer one is, then the one that sorts first
/// (merge-semantics 1, "metadata").
pub fn better_help(offered: &str, held: &str) -> bool {
    offered.len().cmp(&held.len()).then_with(|| held.cmp(offered)).is_gt()
}

#[cfg(test)]
mod tests;
