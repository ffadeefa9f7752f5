//! `POST` and `PUT /metrics…`: what the head says, the body, the gateway, the answer.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_http::{HttpMessage, Payload, Request};
use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};
use actix_web::web::Bytes;

use super::body::read_body;
use super::error::Problem;
use super::params::{PushParams, header, list_header};
use super::{Services, guard, probes};
use crate::auth::Caller;
use crate::format::compress::{self, Coding};
use crate::format::negotiate::{self, PushFormat};
use crate::gateway::{Gateway, Identity, PushRequest, Pushed};
use crate::model::Grouping;
use crate::telemetry::{BodyEncoding, BodyFormat, Outcome};

/// Bodies above this size are decoded and merged on a thread of their own, so that the connections
/// that share a worker do not wait for one large push.
const INLINE_BYTES: usize = 64 << 10;
/// The same for compressed bodies, which grow.
const INLINE_COMPRESSED_BYTES: usize = 8 << 10;
/// How long a push waits for another attempt of the same push.
const OTHER_TRY_WAIT: Duration = Duration::from_millis(100);

/// What the head of a request says about a push.
#[derive(Debug)]
struct Push {
    grouping: Arc<Grouping>,
    caller: Caller,
    params: PushParams,
    format: PushFormat,
    /// In the order they were applied; usually empty.
    codings: Vec<Coding>,
}

impl Push {
    fn identity(&self) -> Option<(&Grouping, Identity<'_>)> {
        let id = self.params.id.as_ref()?;
        Some((&self.grouping, Identity { principal: self.caller.name.as_deref(), id }))
    }
}

pub(super) async fn push(
    services: &Services,
    request: &Request,
    payload: &mut Payload,
    caller: Caller,
    group: &str,
) -> HttpResponse {
    let gateway = &services.gateway;
    let received = match guard::grouping(&caller, group) {
        Ok(grouping) => receive(services, request, payload, caller, grouping).await,
        Err(problem) => Err(problem),
    };
    match received {
        Ok((pushed, _)) if pushed.replayed => {
            gateway.telemetry().push_replayed(group);
            replayed(HttpResponse::new(services.options.push_success))
        }
        Ok((pushed, took)) => {
            gateway.telemetry().push_accepted(pushed.samples, took);
            HttpResponse::new(services.options.push_success)
        }
        Err(problem) => {
            let peer = guard::peer(request);
            let telemetry = gateway.telemetry();
            if let Some(limit) = problem.limit_passed {
                telemetry.limit_refused(limit);
            }
            if let Some(reason) = problem.auth_refusal {
                telemetry.auth_refused(reason);
            }
            telemetry.push_refused(problem.outcome(), group, &peer, problem.detail());
            problem.response()
        }
    }
}

/// Says that an earlier attempt was applied, and this one was not.
pub(super) fn replayed(mut response: HttpResponse) -> HttpResponse {
    let name = HeaderName::from_static("idempotent-replayed");
    response.headers_mut().insert(name, HeaderValue::from_static("?1"));
    response
}

pub(super) async fn receive(
    services: &Services,
    request: &Request,
    payload: &mut Payload,
    caller: Caller,
    grouping: Arc<Grouping>,
) -> Result<(Pushed, Duration), Problem> {
    if !services.lifecycle.is_up() {
        return Err(probes::starting(services));
    }
    let headers = request.headers();
    let push = Push {
        grouping,
        caller,
        params: PushParams::of(request)?,
        format: negotiate::push_format(header(headers, CONTENT_TYPE)).map_err(unsupported)?,
        codings: negotiate::content_encoding(list_header(headers, CONTENT_ENCODING).as_deref())
            .map_err(unsupported)?,
    };
    let (body, permit) = read_body(services, request, payload).await?;
    let (format, encoding) = (body_format(push.format), body_encoding(&push.codings));
    services.gateway.telemetry().push_body(format, encoding, body.len());

    let started = Instant::now();
    let small = is_small(&body, &push.codings);
    let pushed = try_push(services, push, body, small, merge, Push::identity).await?;
    // The body is done with; only its effect has yet to reach the disk.
    drop(permit);
    services.gateway.safe(pushed.ticket).await?;
    Ok((pushed, started.elapsed()))
}

fn merge(gateway: &Gateway, push: &Push, body: &[u8]) -> Result<Pushed, Problem> {
    let body = &*decoded(gateway, &push.codings, body)?;
    let PushParams { merge, ttl, time, .. } = push.params;
    let (grouping, format) = (&push.grouping, push.format);
    let identity = push.identity().map(|(_, identity)| identity);
    let scope = push.caller.scope.as_deref();
    Ok(gateway.push(&PushRequest { grouping, format, body, merge, ttl, time, identity, scope })?)
}

/// Does the work of a push, here if it is small. If another attempt of the same push is in progress,
/// waits a little for it to end: many clients take any 4xx as final (merge-semantics 3, rule 5).
pub(super) async fn try_push<P: Send + 'static, T: Send + 'static>(
    services: &Services,
    mut push: P,
    mut body: Bytes,
    small: bool,
    work: fn(&Gateway, &P, &[u8]) -> Result<T, Problem>,
    identity: fn(&P) -> Option<(&Grouping, Identity<'_>)>,
) -> Result<T, Problem> {
    const LOOK_AGAIN: Duration = Duration::from_millis(5);
    // Rarely needed, so only set when it is first needed.
    let mut until = None;
    loop {
        let done;
        if small {
            done = work(&services.gateway, &push, &body);
        } else {
            let offloaded = move |gateway: &Gateway| (work(gateway, &push, &body), push, body);
            (done, push, body) = Box::pin(services.offload(offloaded)).await?;
        }
        let now = match &done {
            Err(problem) if problem.outcome() == Outcome::InFlight => Instant::now(),
            _ => return done,
        };
        let until = *until.get_or_insert(now + OTHER_TRY_WAIT);
        if now >= until {
            return done;
        }
        let in_flight = |(grouping, id)| services.gateway.is_in_flight(grouping, id);
        while identity(&push).is_some_and(in_flight) && Instant::now() < until {
            Box::pin(tokio::time::sleep(LOOK_AGAIN)).await;
        }
    }
}

/// Whether the body takes so little time that it can be processed on the thread of the connection.
pub(super) fn is_small(body: &[u8], codings: &[Coding]) -> bool {
    body.len() <= if codings.is_empty() { INLINE_BYTES } else { INLINE_COMPRESSED_BYTES }
}

/// The body without its codings.
pub(super) fn decoded<'b>(
    gateway: &Gateway,
    codings: &[Coding],
    body: &'b [u8],
) -> Result<Cow<'b, [u8]>, Problem> {
    if codings.is_empty() {
        return Ok(Cow::Borrowed(body));
    }
    let max = match gateway.settings().limits.decoded_body_bytes {
        0 => usize::MAX,
        max => max,
    };
    let mut decoded = Vec::new();
    compress::decode_all(codings, body, max, &mut decoded)?;
    Ok(Cow::Owned(decoded))
}

fn unsupported(error: negotiate::Unsupported) -> Problem {
    Problem::unsupported(error.to_string())
}

pub(super) fn body_format(format: PushFormat) -> BodyFormat {
    match format {
        PushFormat::Text => BodyFormat::Text,
        PushFormat::OpenMetrics => BodyFormat::OpenMetrics,
        PushFormat::Protobuf => BodyFormat::Protobuf,
    }
}

pub(super) fn body_encoding(codings: &[Coding]) -> BodyEncoding {
    match codings.last() {
        None => BodyEncoding::Identity,
        Some(Coding::Gzip) => BodyEncoding::Gzip,
        Some(Coding::Snappy) => BodyEncoding::Snappy,
        Some(Coding::Zstd) => BodyEncoding::Zstd,
        Some(Coding::Deflate) => BodyEncoding::Deflate,
    }
}
