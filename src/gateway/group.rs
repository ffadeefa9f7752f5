//! Pushes that replace, in pushgateway mode: parse, validate, check, exchange.

use super::{Gateway, OverLimit, Settings};
use crate::format::negotiate::PushFormat;
use crate::format::text::{self, TextOptions};
use crate::format::{ParseError, Timestamps, protobuf};
use crate::groups::{self, GroupPush, PushRefused, Replace};
use crate::model::exposition::Names;
use crate::model::name::is_legacy_metric_name;
use crate::model::{Exposition, Grouping};
use crate::telemetry::{Cause, Limit};

/// A push to a group whose body is whole and decompressed.
#[derive(Clone, Copy, Debug)]
pub struct GroupPushRequest<'a> {
    pub grouping: &'a Grouping,
    pub replace: Replace,
    /// Text or protobuf; the Pushgateway knows no other.
    pub format: PushFormat,
    pub body: &'a [u8],
}

/// Why a push to a group was refused. Nothing has changed then, except that a group knows when a
/// push to it was [`PushRefused::Clash`].
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
}

impl Gateway {
    /// Stores a push to a group; how many samples it has.
    ///
    /// # Errors
    /// If the body cannot be read, a limit is passed, or it does not fit to what is stored.
    pub fn push_group(&self, request: &GroupPushRequest<'_>) -> Result<usize, GroupPushError> {
        let Some(groups) = &self.groups else { return Ok(0) };
        let settings = self.settings();
        let mut exposition = Exposition::new(groups.hasher().clone());
        parse(request, settings.group_names, &mut exposition)?;
        validate(&exposition, &settings)?;
        let protobuf = request.format == PushFormat::Protobuf;
        let now_ns = self.clock.now().stamp;
        groups.push(GroupPush {
            grouping: request.grouping,
            replace: request.replace,
            families: groups::families(&exposition, protobuf, now_ns),
            complaints: exposition.complaints(),
            complaints_left_out: exposition.complaints_left_out(),
            now_ns,
            series_max: settings.limits.store.series,
        })?;
        Ok(exposition.samples())
    }

    /// Forgets a group, if there is one.
    pub fn delete_replaced_group(&self, key: &str) {
        if let Some(groups) = &self.groups {
            groups.delete(key);
        }
    }

    /// Forgets all groups and all that was added up.
    pub fn wipe_groups(&self) {
        if let Some(groups) = &self.groups {
            let wiped = groups.wipe();
            tracing::info!(cause = Cause::Wiped.word(), groups = wiped, "groups removed");
        }
        self.wipe();
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
        if settings.group_names == Names::Legacy && !is_legacy_metric_name(family.name) {
            return Err(GroupPushError::Name(family.name.to_owned()));
        }
    }
    Ok(())
}
