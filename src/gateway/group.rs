//! Pushes that replace, in pushgateway mode: parse, validate, check, exchange.

use super::{Gateway, Identity, OverLimit, Removed, Settings};
use crate::delivery::{ClaimError, Claimed};
use crate::format::negotiate::PushFormat;
use crate::format::text::{self, TextOptions};
use crate::format::{ParseError, Timestamps, protobuf};
use crate::groups::{self, GroupPush, Groups, PushRefused, Replace, Room};
use crate::model::exposition::Names;
use crate::model::name::is_legacy_metric_name;
use crate::model::{Exposition, Grouping};
use crate::persistence::{NotDurable, Ticket};
use crate::telemetry::Limit;

/// A push to a group whose body is whole and decompressed.
#[derive(Clone, Copy, Debug)]
pub struct GroupPushRequest<'a> {
    pub grouping: &'a Grouping,
    pub replace: Replace,
    /// Text or protobuf; the Pushgateway has no other formats.
    pub format: PushFormat,
    pub body: &'a [u8],
    /// Identifies other attempts of the same push, so that a late retry does not replace what was pushed in
    /// the meantime.
    pub identity: Option<Identity<'a>>,
}

/// Why a push to a group was refused. Nothing has changed then, except that after a
/// [`PushRefused::Clash`] the group knows when it was.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum GroupPushError {
    #[error("text format parsing error: {0}")]
    Text(ParseError),
    #[error("protobuf parsing error: {0}")]
    Protobuf(ParseError),
    #[error("{0:?} is not a valid metric name (--push.enable-utf8-names allows it)")]
    Name(String),
    #[error(transparent)]
    OverLimit(#[from] OverLimit),
    #[error(transparent)]
    Refused(#[from] PushRefused),
    #[error("a push without an Idempotency-Key is not accepted here (push.require_key)")]
    KeyRequired,
    #[error(transparent)]
    Claim(#[from] ClaimError),
    #[error(transparent)]
    NotDurable(#[from] NotDurable),
}

/// What a push to a group has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupPushed {
    pub samples: usize,
    /// When it may be acknowledged.
    pub ticket: Ticket,
    /// An earlier attempt was applied, so this one did nothing.
    pub replayed: bool,
}

impl Gateway {
    /// Stores a push to a group. It may be acknowledged when its ticket is safe.
    ///
    /// # Errors
    /// If the body cannot be read, a limit is exceeded, it contradicts what is stored, another attempt is in
    /// progress or may have been applied long ago, or nothing can be made durable at present.
    ///
    /// # Panics
    /// If this gateway has no groups.
    pub fn push_group(
        &self,
        request: &GroupPushRequest<'_>,
    ) -> Result<GroupPushed, GroupPushError> {
        let groups = self.groups.as_ref().expect("only pushgateway mode has pushes to groups");
        self.check_writable()?;
        let settings = self.settings();
        let GroupPushRequest { grouping, replace, format, body, identity } = *request;
        // A group has labels even if the body has none.
        settings.limits.check_labels(grouping.extent())?;
        let what: &[u8] = match replace {
            Replace::Group => b"group",
            Replace::Families => b"families",
        };
        let content = [body, format.word().as_bytes(), what];
        let claim = match identity {
            None if settings.require_key => return Err(GroupPushError::KeyRequired),
            None => None,
            Some(identity) => match self.claim_content(grouping, identity, &content, &settings)? {
                Claimed::Now(claim) => Some(claim),
                Claimed::Before => {
                    let ticket = self.commits.enter().ticket();
                    return Ok(GroupPushed { ticket, replayed: true, samples: 0 });
                }
            },
        };
        let mut exposition = Exposition::new(groups.hasher().clone());
        parse(request, settings.group_names, &mut exposition)?;
        validate(&exposition, &settings)?;
        let protobuf = format == PushFormat::Protobuf;
        let now_ns = self.clock.now().stamp;
        let families = groups::families(&exposition, protobuf, now_ns);
        let pass = self.commits.enter();
        groups.push(GroupPush {
            grouping,
            replace,
            families,
            complaints: exposition.complaints(),
            complaints_left_out: exposition.complaints_left_out(),
            now_ns,
            room: Room {
                series: settings.limits.store.series,
                families: settings.limits.store.families,
            },
            added_up: &|name| self.store.kind_of(name),
        })?;
        if let Some(claim) = claim {
            claim.done();
        }
        Ok(GroupPushed { samples: exposition.samples(), ticket: pass.ticket(), replayed: false })
    }

    /// Forgets a group; `None` if there is none.
    pub fn delete_replaced_group(&self, key: &str) -> Option<Ticket> {
        let pass = self.commits.enter();
        self.groups.as_ref()?.delete(key).then(|| pass.ticket())
    }

    /// Forgets all groups, and everything that was added up besides them. Returns how many groups and
    /// which series these were.
    pub fn wipe_groups(&self) -> (usize, Removed) {
        let (groups, ticket) = {
            let pass = self.commits.enter();
            (self.groups.as_ref().map_or(0, Groups::wipe), pass.ticket())
        };
        let mut removed = self.wipe();
        removed.ticket = removed.ticket.max(ticket);
        (groups, removed)
    }
}

fn parse(
    request: &GroupPushRequest<'_>,
    names: Names,
    exposition: &mut Exposition,
) -> Result<(), GroupPushError> {
    let builder = exposition.build_replacing(request.grouping, names);
    match request.format {
        PushFormat::Protobuf => protobuf::parse(request.body, builder, Timestamps::Reject)
            .map_err(GroupPushError::Protobuf),
        PushFormat::Text | PushFormat::OpenMetrics => {
            let options = TextOptions {
                lenient_line_ends: false,
                blank_means_timestamp: true,
                timestamps: Timestamps::Ignore,
            };
            text::parse(request.body, builder, options).map_err(GroupPushError::Text)
        }
    }
}

fn validate(exposition: &Exposition, settings: &Settings) -> Result<(), GroupPushError> {
    let limits = &settings.limits;
    limits.check(Limit::SamplesPerPush, exposition.samples())?;
    limits.check_labels(exposition.extent())?;
    for family in exposition.families() {
        limits.check(Limit::MetricNameBytes, family.name.len())?;
        limits.check_texts(&family)?;
        if settings.group_names == Names::Legacy && !is_legacy_metric_name(family.name) {
            return Err(GroupPushError::Name(family.name.to_owned()));
        }
    }
    Ok(())
}
