//! Pushes and deletions of groups (pushgateway-contract 2, 3 and 6).

use std::sync::Arc;
use std::time::Instant;

use actix_http::{HttpMessage, Payload, Request};
use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::http::{Method as HttpMethod, StatusCode};

use super::Answering;
use super::path::{Group, GroupPathError};
use crate::format::compress::{self, Coding};
use crate::format::negotiate::{self, PushFormat};
use crate::gateway::{
    Gateway, GroupPushError, GroupPushRequest, GroupPushed, Identity, PushId, PushRefused, Pushed,
    Replace,
};
use crate::http::body::read_body;
use crate::http::error::{Problem, over_limit};
use crate::http::guard;
use crate::http::params::{self, header, push_id};
use crate::http::push::{
    body_encoding, body_format, decoded, is_small, receive as add_up, replayed, try_push,
};
use crate::model::Grouping;
use crate::telemetry::{Cause, Limit, Method};

/// What the head of a request says about a push.
struct Push {
    grouping: Grouping,
    /// The user who pushes, if known.
    principal: Option<Arc<str>>,
    id: Option<PushId>,
    replace: Replace,
    format: PushFormat,
    coding: Option<Coding>,
}

impl Push {
    fn identity(&self) -> Option<(&Grouping, Identity<'_>)> {
        let id = self.id.as_ref()?;
        Some((&self.grouping, Identity { principal: self.principal.as_deref(), id }))
    }
}

impl Answering<'_> {
    pub(super) async fn push(
        &self,
        payload: &mut Payload,
        group: Group<'_>,
    ) -> Result<HttpResponse, Problem> {
        let Answering { services, options, request, .. } = *self;
        let started = Instant::now();
        let method = match *request.method() {
            HttpMethod::PUT => Method::Put,
            _ => Method::Post,
        };
        let pushed = match self.adds_up() {
            Ok(true) => self.add(payload, group).await,
            Ok(false) => self.receive(payload, group).await,
            Err(problem) => Err(problem),
        };
        let telemetry = services.gateway.telemetry();
        telemetry.pushgateway_pushed(method, started.elapsed(), size(request));
        match pushed {
            Ok(pushed) if pushed.replayed => {
                telemetry.push_replayed(request.path());
                return Ok(replayed(HttpResponse::new(self.success())));
            }
            Ok(pushed) => telemetry.push_accepted(pushed.samples, started.elapsed()),
            Err(problem) => {
                if let Some(limit) = problem.limit_passed {
                    telemetry.limit_refused(limit);
                }
                if let Some(reason) = problem.auth_refusal {
                    telemetry.auth_refused(reason);
                }
                let (path, peer) = (request.path(), guard::peer(request));
                telemetry.push_refused(problem.outcome(), path, &peer, problem.detail());
                if !(options.consistency_unchecked && problem.is_clash()) {
                    return Err(problem);
                }
            }
        }
        Ok(HttpResponse::new(self.success()))
    }

    fn success(&self) -> StatusCode {
        match self.options.consistency_unchecked {
            true => StatusCode::ACCEPTED,
            false => self.services.options.push_success,
        }
    }

    async fn receive(
        &self,
        payload: &mut Payload,
        group: Group<'_>,
    ) -> Result<GroupPushed, Problem> {
        let Answering { services, request, .. } = *self;
        if !services.lifecycle.is_up() {
            return Err(Problem::unavailable("the gateway is starting"));
        }
        let headers = request.headers();
        let push = Push {
            grouping: self.grouping(group)?,
            principal: self.caller.name.clone(),
            // Clients of the Pushgateway may send any query.
            id: push_id(request, false)?,
            replace: match *request.method() {
                HttpMethod::PUT => Replace::Group,
                _ => Replace::Families,
            },
            format: negotiate::group_push_format(header(headers, CONTENT_TYPE)),
            // Other codings are ignored: the bytes go to the parser as they are (contract 3).
            coding: match header(headers, CONTENT_ENCODING).unwrap_or_default() {
                name if name.eq_ignore_ascii_case("gzip") => Some(Coding::Gzip),
                name if name.eq_ignore_ascii_case("snappy") => Some(Coding::Snappy),
                _ => None,
            },
        };
        let (body, permit) = read_body(services, request, payload).await?;
        let codings = push.coding.as_slice();
        let telemetry = services.gateway.telemetry();
        telemetry.push_body(body_format(push.format), body_encoding(codings), body.len());
        let small = is_small(&body, codings);
        let pushed = try_push(services, push, body, small, store, Push::identity).await?;
        drop(permit);
        services.gateway.safe(pushed.ticket).await?;
        Ok(pushed)
    }

    /// Whether the push asks to be added up. A header that would change the meaning of a push must not
    /// be ignored.
    fn adds_up(&self) -> Result<bool, Problem> {
        // If this is not allowed, the query is ignored, as in the Pushgateway.
        let query_name = if self.options.allow_mode { "mode" } else { "" };
        let asked = params::value(self.request, "push-mode", query_name)?;
        match asked.as_deref() {
            None | Some("replace") => Ok(false),
            Some("delta") if self.options.allow_mode => Ok(true),
            Some(mode) if self.options.allow_mode => Err(Problem::bad_request(format!(
                "push-mode: {mode:?} is neither replace nor delta"
            ))),
            Some(_) => Err(Problem::bad_request(
                "this gateway does not let a push choose its mode (--push.allow-mode)",
            )),
        }
    }

    /// A push that is added up, like all pushes in the other mode.
    async fn add(&self, payload: &mut Payload, group: Group<'_>) -> Result<GroupPushed, Problem> {
        let names = self.services.gateway.settings().group_names;
        let malformed = |error: GroupPathError| Problem::bad_request(error.to_string());
        let pairs = group.pairs(names).map_err(malformed)?;
        let grouping = Grouping::new(pairs).map_err(|error| malformed(error.into()))?;
        guard::check_scope(&self.caller, &grouping)?;
        let (caller, grouping) = (self.caller.clone(), Arc::new(grouping));
        let (pushed, _) = add_up(self.services, self.request, payload, caller, grouping).await?;
        let Pushed { samples, ticket, replayed, .. } = pushed;
        Ok(GroupPushed { samples, ticket, replayed })
    }

    /// Answers with 202, even if there is no such group.
    pub(super) async fn delete(&self, group: Group<'_>) -> Result<HttpResponse, Problem> {
        let services = self.services;
        let grouping = self.grouping(group).inspect_err(|problem| {
            if let Some(reason) = problem.auth_refusal {
                let (path, peer) = (self.request.path(), guard::peer(self.request));
                services.gateway.telemetry().request_refused(reason, &peer, path);
            }
        })?;
        services.gateway.check_writable()?;
        if let Some(ticket) = services.gateway.delete_replaced_group(grouping.key()) {
            let by = self.sender();
            services.gateway.telemetry().group_removal_requested(Cause::Deleted, 1, &by);
            services.gateway.safe(ticket).await?;
        }
        Ok(HttpResponse::Accepted().finish())
    }

    /// The grouping key, if the sender may change this group.
    fn grouping(&self, group: Group<'_>) -> Result<Grouping, Problem> {
        let names = self.services.gateway.settings().group_names;
        let grouping =
            group.grouping(names).map_err(|error| Problem::bad_request(error.to_string()))?;
        guard::check_scope(&self.caller, &grouping)?;
        Ok(grouping)
    }
}

fn store(gateway: &Gateway, push: &Push, body: &[u8]) -> Result<GroupPushed, Problem> {
    let Push { grouping, replace, format, coding, .. } = push;
    if *coding == Some(Coding::Gzip) && body.is_empty() {
        return Err(Problem::bad_request("the body is empty, which is not a gzip stream"));
    }
    if *coding == Some(Coding::Snappy) && !body.is_empty() && !compress::is_snappy_stream(body) {
        return Err(Problem::bad_request("the body is not a snappy stream in the framing format"));
    }
    let body = decoded(gateway, coding.as_slice(), body)?;
    let (replace, format, body) = (*replace, *format, &*body);
    let identity = push.identity().map(|(_, identity)| identity);
    Ok(gateway.push_group(&GroupPushRequest { grouping, replace, format, body, identity })?)
}

/// Approximate size of the whole request: its first line, its header, and the announced length.
fn size(request: &Request) -> usize {
    let line =
        request.uri().to_string().len() + request.method().as_str().len() + " HTTP/1.1".len();
    let header = |(name, value): (&actix_web::http::header::HeaderName, &_)| {
        name.as_str().len() + actix_web::http::header::HeaderValue::len(value)
    };
    let length = header_length(request);
    line + request.headers().iter().map(header).sum::<usize>() + length
}

fn header_length(request: &Request) -> usize {
    let length = header(request.headers(), CONTENT_LENGTH).and_then(|length| length.parse().ok());
    length.unwrap_or(0)
}

impl From<GroupPushError> for Problem {
    fn from(error: GroupPushError) -> Problem {
        match error {
            GroupPushError::OverLimit(error) => over_limit(error).into_bad_request(),
            GroupPushError::Refused(PushRefused::Clash(clash)) => Problem::clash(clash.to_string()),
            GroupPushError::Refused(error @ PushRefused::TooManySeries { .. }) => {
                Problem::too_many(Limit::Series, error.to_string())
            }
            GroupPushError::Refused(error @ PushRefused::TooManyFamilies { .. }) => {
                Problem::too_many(Limit::Families, error.to_string())
            }
            GroupPushError::Claim(error) => error.into(),
            GroupPushError::NotDurable(error) => error.into(),
            error => Problem::bad_request(error.to_string()),
        }
    }
}
