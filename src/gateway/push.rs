//! One push, from bytes to merged (DESIGN 4): parse, validate, relabel, admit, apply. Everything
//! that can refuse comes before anything changes.

use std::num::NonZeroU64;
use std::sync::Arc;

use super::layouts::Layouts;
use super::{Gateway, OverLimit, Settings};
use crate::clock::Now;
use crate::delivery::{Attempt, Claim, ClaimError, Claimed, PushId};
use crate::format::ParseError;
use crate::format::negotiate::PushFormat;
use crate::format::openmetrics::{self, OpenMetricsOptions};
use crate::format::protobuf;
use crate::format::text::{self, TextOptions};
use crate::groups::{Groups, Refused};
use crate::merge::MergeRules;
use crate::model::exposition::{PushedSeries, SeriesId};
use crate::model::{Exposition, GaugeRule, Grouping, Kind, LabelScope, OutOfScope, Ttl};
use crate::persistence::{NotDurable, Ticket};
use crate::rules::Decision;
use crate::store::{AdmitError, Applied, ChosenBy, Plan, PushContext, Terms};
use crate::telemetry::Limit;

/// A push whose body is whole and decompressed.
#[derive(Clone, Copy, Debug)]
pub struct PushRequest<'a> {
    pub grouping: &'a Grouping,
    pub format: PushFormat,
    pub body: &'a [u8],
    /// `Push-Merge`
    pub merge: Option<GaugeRule>,
    /// `Push-TTL`
    pub ttl: Option<Ttl>,
    /// `Push-Time`, nanoseconds since the Unix epoch
    pub time: Option<i64>,
    /// Identifies other attempts of the same push. Without it, each attempt counts.
    pub identity: Option<Identity<'a>>,
    /// The labels that the sender is bound to. The grouping key has been checked against them.
    pub scope: Option<&'a LabelScope>,
}

impl<'a> PushRequest<'a> {
    /// A push without any parameters, from a sender who is not bound to labels.
    pub fn new(grouping: &'a Grouping, format: PushFormat, body: &'a [u8]) -> PushRequest<'a> {
        PushRequest {
            grouping,
            format,
            body,
            merge: None,
            ttl: None,
            time: None,
            identity: None,
            scope: None,
        }
    }
}

/// Which push this is, among those of one client.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// Who pushes, if that is known.
    pub principal: Option<&'a str>,
    pub id: &'a PushId,
}

/// What a push has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    pub samples: usize,
    pub series: usize,
    pub series_born: usize,
    /// When it may be acknowledged.
    pub ticket: Ticket,
    /// An earlier attempt was applied, so this one did nothing.
    pub replayed: bool,
}

/// Why a push was refused. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PushError {
    #[error(transparent)]
    Parse(#[from] ParseError),
    #[error(transparent)]
    OverLimit(#[from] OverLimit),
    #[error("family {0} is ours: names that start with {PREFIX} cannot be pushed")]
    Reserved(String),
    #[error("label {label} of the path has no place on the {kind} {family}: its samples have one")]
    LabelTaken { label: String, family: String, kind: Kind },
    #[error("this gateway does not let a push choose the gauge rule (push.merge_hint)")]
    HintNotAllowed,
    #[error("a push without an Idempotency-Key is not accepted here ({by})")]
    KeyRequired { by: &'static str },
    #[error(transparent)]
    Claim(#[from] ClaimError),
    #[error("a push may ask to be kept {} s at the most (ttl.client_max)", .max.seconds())]
    Ttl { max: Ttl },
    #[error("after the rules of this gateway, {0}")]
    OutOfScope(#[from] OutOfScope),
    #[error(transparent)]
    Admit(#[from] AdmitError),
    /// In pushgateway mode, a name is either used by groups or added up.
    #[error(transparent)]
    Clash(#[from] Refused),
    #[error(transparent)]
    NotDurable(#[from] NotDurable),
}

/// The names of our own metrics start with this.
const PREFIX: &str = "tallygate_";

/// How far a client's clock may be ahead. A faster one would win for ever (merge-semantics 1.4).
const AHEAD_MAX_NS: i64 = 10_000_000_000;

/// Buffers above this size are not kept.
const KEPT_BYTES: usize = 4 << 20;

/// What one push needs besides its body.
#[derive(Debug)]
pub(super) struct Buffers {
    plan: Plan,
    exposition: Exposition,
    /// By [`SeriesId`]; empty if no rule decides anything.
    terms: Vec<Terms>,
    labels: String,
    layouts: Layouts,
}

impl Buffers {
    /// Lets go of removed series.
    pub(super) fn forget_removed(&mut self) {
        self.layouts.forget_removed();
    }
}

impl Gateway {
    /// Merges a push, or refuses all of it. It may be acknowledged when its ticket is safe.
    ///
    /// # Errors
    /// If the body cannot be read, a limit is exceeded, a value cannot be merged, another attempt of the
    /// push is in progress or may have been applied long ago, or nothing can be made durable at present.
    pub fn push(&self, request: &PushRequest<'_>) -> Result<Pushed, PushError> {
        self.check_writable()?;
        let settings = &*self.settings();
        // Before all else: if it was applied, that is the answer, whatever has changed since then.
        let claim = match request.identity {
            None => None,
            Some(identity) => match self.claim(request, identity, settings)? {
                Claimed::Now(claim) => Some(claim),
                Claimed::Before => {
                    // The effect of the earlier attempt is part of this commit at the latest.
                    let ticket = self.commits.enter().ticket();
                    return Ok(Pushed { ticket, replayed: true, ..Pushed::default() });
                }
            },
        };
        let pool = self.buffers.own();
        let idle = pool.lock().pop();
        let mut buffers = idle.unwrap_or_else(|| {
            Box::new(Buffers {
                plan: Plan::default(),
                exposition: Exposition::new(self.store.hasher().clone()),
                terms: Vec::new(),
                labels: String::new(),
                layouts: Layouts::default(),
            })
        });
        let pushed = self.push_with(request, settings, claim, &mut buffers);
        buffers.plan.clear();
        if buffers.exposition.capacity_bytes() <= KEPT_BYTES {
            pool.lock().push(buffers);
        }
        pushed
    }

    fn push_with(
        &self,
        request: &PushRequest<'_>,
        settings: &Arc<Settings>,
        mut claim: Option<Claim<'_>>,
        buffers: &mut Buffers,
    ) -> Result<Pushed, PushError> {
        let default = default_terms(request, settings)?;
        let has_key = claim.is_some() || !settings.require_key;
        // The number of the grouping key, if this push may take the short way.
        let group = match request.format {
            PushFormat::OpenMetrics => None,
            _ => request.grouping.number().filter(|_| has_key && buffers.layouts.fit(settings)),
        };
        if let Some(group) = group {
            let layouts = &mut buffers.layouts;
            let pushed = self.push_again(request, group, settings, default, &mut claim, layouts);
            if let Some(pushed) = pushed {
                return Ok(pushed);
            }
        }
        let exposition = &mut buffers.exposition;
        parse(request, settings, exposition)?;
        validate(request.grouping, exposition, settings)?;
        let relabelled = relabel(settings, default, buffers);
        if claim.is_none()
            && let Some(by) = relabelled.key_required_by
        {
            return Err(PushError::KeyRequired { by });
        }
        check_scope(request, settings, &buffers.exposition)?;

        let Buffers { plan, exposition, terms, layouts, .. } = buffers;
        let terms_of =
            |series: &PushedSeries<'_>| terms.get(series.id.index()).copied().unwrap_or(default);
        let (applied, ticket, removals) = {
            let (_under_way, now) = self.scrapers.push_begins(|| self.clock.now());
            let context = context(request, settings, now);
            let pass = self.commits.enter();
            // In pushgateway mode its names must not clash with those of groups, and no group may take one of
            // them before it is applied.
            let held = self.groups.as_ref().map(Groups::hold);
            if let Some(held) = &held {
                let families = exposition.families().filter(|family| family.series > 0);
                held.check(families.map(|family| (family.name, family.kind)))?;
            }
            let applied = self.store.admit(&pass, exposition, context, terms_of, plan)?.apply();
            if let Some(claim) = claim {
                claim.done();
            }
            (applied, pass.ticket(), self.store.removals())
        };

        self.telemetry.series_born(applied.series_born);
        self.telemetry.series_dropped_by_rule(relabelled.dropped);
        let pushed = self.pushed(exposition, applied, ticket);
        if let Some(group) = group
            && applied.series_born == 0
        {
            layouts.learn(request.format, request.body, group, exposition, plan, removals);
        }
        Ok(pushed)
    }

    /// The short way, for a push like an earlier one.
    fn push_again(
        &self,
        request: &PushRequest<'_>,
        group: NonZeroU64,
        settings: &Settings,
        terms: Terms,
        claim: &mut Option<Claim<'_>>,
        layouts: &mut Layouts,
    ) -> Option<Pushed> {
        let at = layouts.read(request.format, request.body, group)?;
        let context = context(request, settings, self.clock.now());
        let pass = self.commits.enter();
        let known = layouts.get(at, group, self.store.removals());
        let pushed = known.and_then(|(exposition, known)| {
            let applied = self.store.merge_known(&pass, exposition, context, |_| terms, known)?;
            Some(self.pushed(exposition, applied, pass.ticket()))
        });
        match pushed {
            None => layouts.forget(at, group),
            Some(_) => claim.take().into_iter().for_each(Claim::done),
        }
        pushed
    }

    fn pushed(&self, exposition: &Exposition, applied: Applied, ticket: Ticket) -> Pushed {
        self.telemetry.samples_dropped(exposition.created_dropped(), exposition.quantiles());
        Pushed {
            samples: exposition.samples(),
            series: applied.series_merged,
            series_born: applied.series_born,
            ticket,
            replayed: false,
        }
    }

    fn claim(
        &self,
        request: &PushRequest<'_>,
        identity: Identity<'_>,
        settings: &Settings,
    ) -> Result<Claimed<'_>, ClaimError> {
        // Without Push-Time: each attempt may give the time when it was sent.
        let ttl = request.ttl.map(|ttl| ttl.seconds().to_le_bytes());
        let content = [
            request.body,
            request.format.word().as_bytes(),
            request.merge.map_or("", GaugeRule::word).as_bytes(),
            ttl.as_ref().map_or(&[], |seconds| seconds),
        ];
        self.claim_content(request.grouping, identity, &content, settings)
    }

    /// Whether this attempt of a push with this content is the one to apply.
    pub(super) fn claim_content(
        &self,
        grouping: &Grouping,
        identity: Identity<'_>,
        content: &[&[u8]],
        settings: &Settings,
    ) -> Result<Claimed<'_>, ClaimError> {
        let attempt = attempt(grouping, identity, content);
        self.delivery.claim(&attempt, self.clock.now().ms, settings.memory())
    }

    /// Another attempt of this push is in progress.
    pub fn is_in_flight(&self, grouping: &Grouping, identity: Identity<'_>) -> bool {
        self.delivery.is_claimed(&attempt(grouping, identity, &[]))
    }
}

fn context<'a>(request: &PushRequest<'a>, settings: &Settings, now: Now) -> PushContext<'a> {
    PushContext {
        group: request.grouping.key(),
        stamp: stamp(request, now),
        now_ms: now.steady_ms(),
        limits: settings.limits.store,
    }
}

fn attempt<'a>(
    grouping: &'a Grouping,
    identity: Identity<'a>,
    content: &'a [&'a [u8]],
) -> Attempt<'a> {
    let Identity { principal, id } = identity;
    Attempt { principal, grouping, id, content }
}

/// How series merge unless a rule says otherwise.
fn default_terms(request: &PushRequest<'_>, settings: &Settings) -> Result<Terms, PushError> {
    if request.merge.is_some() && !settings.merge_hint {
        return Err(PushError::HintNotAllowed);
    }
    let max = settings.ttl_client_max;
    if request.ttl.is_some_and(|asked| asked > max) {
        return Err(PushError::Ttl { max });
    }
    let gauge = request.merge.unwrap_or(settings.gauge);
    Ok(Terms {
        rules: MergeRules { gauge, untyped: settings.untyped },
        chosen_by: if request.merge.is_some() { ChosenBy::Push } else { ChosenBy::Default },
        ttl_s: request.ttl.unwrap_or(settings.ttl_default).seconds(),
    })
}

fn parse(
    request: &PushRequest<'_>,
    settings: &Settings,
    exposition: &mut Exposition,
) -> Result<(), ParseError> {
    let &PushRequest { body, grouping, .. } = request;
    let timestamps = settings.timestamps;
    let openmetrics = OpenMetricsOptions { timestamps, require_eof: false };
    match request.format {
        PushFormat::OpenMetrics => {
            openmetrics::parse(body, exposition.build(grouping), openmetrics)
        }
        PushFormat::Protobuf => protobuf::parse(body, exposition.build(grouping), timestamps),
        PushFormat::Text => {
            // Some clients send OpenMetrics without saying so. In text, the last line would be a comment, so
            // the body may still be text.
            if openmetrics::has_eof(body)
                && openmetrics::parse(body, exposition.build(grouping), openmetrics).is_ok()
            {
                return Ok(());
            }
            let options =
                TextOptions { timestamps, lenient_line_ends: true, ..TextOptions::default() };
            text::parse(body, exposition.build(grouping), options)
        }
    }
}

fn validate(
    grouping: &Grouping,
    exposition: &Exposition,
    settings: &Settings,
) -> Result<(), PushError> {
    let limits = &settings.limits;
    limits.check(Limit::SamplesPerPush, exposition.samples())?;
    limits.check_labels(exposition.extent())?;
    exposition.families().try_for_each(|family| limits.check_texts(&family))?;
    for family in exposition.families().filter(|family| family.series > 0) {
        limits.check(Limit::MetricNameBytes, family.name.len())?;
        if family.name.starts_with(PREFIX) {
            return Err(PushError::Reserved(family.name.to_owned()));
        }
        // No scrape could show a line with two labels of one name.
        let own = match family.kind {
            Kind::StateSet => Some(family.name),
            kind => kind.sample_label(),
        };
        if let Some(own) = own
            && grouping.get(own).is_some_and(|value| !value.is_empty())
        {
            let (label, family, kind) = (own.to_owned(), family.name.to_owned(), family.kind);
            return Err(PushError::LabelTaken { label, family, kind });
        }
    }
    Ok(())
}

/// What the rules have done to a push as a whole.
#[derive(Debug, Default)]
struct Relabelled {
    /// How many series were dropped.
    dropped: usize,
    /// The setting that requires an idempotency key.
    key_required_by: Option<&'static str>,
}

/// Applies the operator's rules: which series stay, under which names and labels, and how they merge.
fn relabel(settings: &Settings, default: Terms, buffers: &mut Buffers) -> Relabelled {
    let Buffers { exposition, terms, labels, .. } = buffers;
    terms.clear();
    let by_default = settings.require_key.then_some("push.require_key");
    let mut dropped = 0;
    if settings.rules.is_empty() {
        return Relabelled { dropped, key_required_by: by_default };
    }
    // One series that requires a key is enough, even if rules exempt others.
    let mut asked_by = None;
    let mut kept = false;
    let mut current = None;
    for at in 0..exposition.series_len() {
        let id = SeriesId::new(at);
        terms.push(default);
        let Some(series) = exposition.get(id) else { continue };
        let (family, rules) = match current.take() {
            Some((family, rules)) if family == series.family => (family, rules),
            _ => {
                let name = exposition.family(series.family).name;
                (series.family, settings.rules.for_family(name))
            }
        };
        let (mut drop, mut by) = (false, by_default);
        if !rules.is_empty() {
            let decision = rules.decide(series.labels);
            terms[at] = terms_by(&decision, default);
            labels.clear();
            drop = decision.drop;
            if let Some(required) = decision.require_key {
                by = required.then_some("require_key of a rule");
            }
            if drop {
                exposition.drop_series(id);
                dropped += 1;
            } else if decision.relabel.apply(series.labels, labels) {
                exposition.rename_series(id, decision.family, Some(labels));
            } else if decision.family.is_some() {
                exposition.rename_series(id, decision.family, None);
            }
        }
        if !drop {
            kept = true;
            asked_by = asked_by.or(by);
        }
        current = Some((family, rules));
    }
    Relabelled { dropped, key_required_by: if kept { asked_by } else { by_default } }
}

/// The path overrides labels in the body, so only a rule can have changed a label that the sender is bound
/// to. Dropped series are not checked.
fn check_scope(
    request: &PushRequest<'_>,
    settings: &Settings,
    exposition: &Exposition,
) -> Result<(), OutOfScope> {
    let Some(scope) = request.scope.filter(|_| !settings.rules.is_empty()) else { return Ok(()) };
    for at in 0..exposition.series_len() {
        if let Some(series) = exposition.get(SeriesId::new(at)) {
            scope.check_series(series.labels)?;
        }
    }
    Ok(())
}

fn terms_by(decision: &Decision<'_>, default: Terms) -> Terms {
    Terms {
        rules: MergeRules {
            gauge: decision.gauge.unwrap_or(default.rules.gauge),
            untyped: decision.untyped.unwrap_or(default.rules.untyped),
        },
        chosen_by: if decision.gauge.is_some() { ChosenBy::Operator } else { default.chosen_by },
        ttl_s: decision.ttl.map_or(default.ttl_s, |ttl| ttl.seconds()),
    }
}

fn stamp(request: &PushRequest<'_>, now: Now) -> i64 {
    request.time.map_or(now.stamp, |time| time.min(now.stamp.saturating_add(AHEAD_MAX_NS)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Telemetry;

    #[test]
    fn pushes_are_remembered_under_keys_with_a_number() {
        let gateway = Gateway::new(Settings::default(), Arc::new(Telemetry::new(0)));
        let push = |grouping: &Grouping, name: &str| {
            let body = format!("# TYPE {name}_total counter\n{name}_total 1\n");
            let request = PushRequest::new(grouping, PushFormat::Text, body.as_bytes());
            gateway.push(&request).unwrap();
            let pool = gateway.buffers.own().lock();
            pool.iter().map(|buffers| buffers.layouts.size()).collect::<Vec<_>>()
        };
        let key = |job: &'static str| Grouping::new([("job", job)]).unwrap();
        // The first push creates the series. Of the others, a layout is kept once it was seen twice.
        let numbered = key("a").numbered();
        let sizes = [0; 4].map(|_| push(&numbered, "a"));
        assert_eq!(sizes, [[(0, 0)], [(0, 0)], [(1, 1)], [(1, 1)]]);
        for _ in 0..5 {
            assert_eq!(push(&key("a"), "a"), [(1, 1)]);
        }
        // A removal of other series does not matter to it.
        let other = key("b").numbered();
        (0..3).for_each(|_| _ = push(&other, "a"));
        assert_eq!(push(&other, "a"), [(1, 2)]);
        gateway.delete_group(other.key(), false);
        assert_eq!(push(&numbered, "a"), [(1, 2)]);
        // This push creates its series again, so only the next one can learn it.
        assert_eq!(push(&other, "a"), [(1, 1)]);
        assert_eq!(push(&other, "a"), [(1, 2)]);
        // With many layouts, the oldest are replaced.
        for name in ["b", "c", "d", "e", "f", "g", "h", "i", "j"] {
            (0..3).for_each(|_| _ = push(&numbered, name));
        }
        assert_eq!(push(&numbered, "j"), [(8, 8)]);
        // After many removals, removed series are let go of.
        let many: String = (0..1024).map(|at| format!("many_total{{at=\"{at}\"}} 1\n")).collect();
        let many = PushRequest::new(&other, PushFormat::Text, many.as_bytes());
        gateway.push(&many).unwrap();
        gateway.delete_group(other.key(), false);
        gateway.delete_group(numbered.key(), false);
        gateway.push(&many).unwrap();
        gateway.delete_group(other.key(), false);
        assert_eq!(push(&key("c"), "c"), [(8, 0)]);
    }
}
