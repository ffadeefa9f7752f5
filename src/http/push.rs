//! `POST` and `PUT /metrics…`: read the body under its limits, hand it to the gateway, answer.

use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use actix_http::{HttpMessage, Payload, Request};
use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue,
};
use actix_web::web::{Bytes, BytesMut};
use futures_core::Stream;

use super::error::{self, Problem};
use super::params::{PushParams, header, list_header};
use super::{Services, guard, probes};
use crate::auth::Caller;
use crate::format::compress::{self, Coding};
use crate::format::negotiate::{self, PushFormat};
use crate::gateway::limits::BodyPermit;
use crate::gateway::{Gateway, Identity, OverLimit, PushRequest, Pushed};
use crate::model::Grouping;
use crate::telemetry::{BodyEncoding, BodyFormat, Limit, Outcome};

/// Bodies above this size are decoded and merged on a thread of their own, so that the connections
/// that share a worker do not wait for one large push.
const INLINE_BYTES: usize = 64 << 10;
/// The same for compressed bodies, which grow.
const INLINE_COMPRESSED_BYTES: usize = 8 << 10;
/// How long a push waits for another try of itself.
const OTHER_TRY_WAIT: Duration = Duration::from_millis(100);

/// A push as far as its head tells.
#[derive(Debug)]
struct Push {
    grouping: Arc<Grouping>,
    caller: Caller,
    params: PushParams,
    format: PushFormat,
    /// In the order they were applied; mostly none.
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

/// Says that an earlier try was applied, and this one is not.
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

/// Does the work of a push, here if it is small. If another try of the same push is in progress,
/// waits a little for it to end: many pushers take any 4xx for final (merge-semantics 3, rule 5).
pub(super) async fn try_push<P: Send + 'static, T: Send + 'static>(
    services: &Services,
    mut push: P,
    mut body: Bytes,
    small: bool,
    work: fn(&Gateway, &P, &[u8]) -> Result<T, Problem>,
    identity: fn(&P) -> Option<(&Grouping, Identity<'_>)>,
) -> Result<T, Problem> {
    const LOOK_AGAIN: Duration = Duration::from_millis(5);
    // Hardly ever looked at, and then from the first time on.
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

/// A body that is quickly dealt with, where the connection is.
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

/// Reads the whole body. The permit counts its bytes as in flight until it is dropped.
pub(super) async fn read_body<'s>(
    services: &'s Services,
    request: &Request,
    payload: &mut Payload,
) -> Result<(Bytes, BodyPermit<'s>), Problem> {
    let gateway = &services.gateway;
    let length = header(request.headers(), CONTENT_LENGTH).and_then(|n| n.parse::<usize>().ok());
    let announced = length.unwrap_or(0);
    let max = {
        let limits = &gateway.settings().limits;
        limits.check(Limit::BodyBytes, announced).map_err(error::over_limit)?;
        limits.body_bytes
    };
    let permit = gateway.permit_body(announced).ok_or_else(Problem::busy)?;
    let (first, all) = (Bytes::new(), BytesMut::new());
    let mut body = Body { gateway, max, announced, permit, first, all };

    let mut read = Poll::Pending;
    if matches!(payload, Payload::H1 { .. }) {
        read = body.take(payload, &mut Context::from_waker(Waker::noop()));
        if read.is_pending() {
            next_look().await;
        }
    }
    if read.is_pending() {
        read = poll_fn(|cx| Poll::Ready(body.take(payload, cx))).await;
    }
    match read {
        Poll::Ready(read) => read?,
        Poll::Pending => {
            let reading = poll_fn(|cx| body.take(payload, cx));
            let timed = tokio::time::timeout(services.options.read_body_timeout, reading);
            let late = |_| Problem::timed_out("the body did not arrive in time");
            Box::pin(timed).await.map_err(late)??;
        }
    }
    *payload = Payload::None;
    Ok((body.whole(), body.permit))
}

/// A body on its way.
struct Body<'g> {
    gateway: &'g Gateway,
    max: usize,
    /// By Content-Length; 0 if it comes in chunks.
    announced: usize,
    permit: BodyPermit<'g>,
    /// Most bodies come in one piece, which then need not be copied.
    first: Bytes,
    /// All pieces, if there are several.
    all: BytesMut,
}

impl Body<'_> {
    /// Takes what has come, until that is all.
    fn take(&mut self, payload: &mut Payload, cx: &mut Context<'_>) -> Poll<Result<(), Problem>> {
        while let Some(piece) = ready!(Pin::new(&mut *payload).poll_next(cx)) {
            let piece = piece.map_err(|error| Problem::bad_request(format!("body: {error}")))?;
            self.add(piece)?;
        }
        Poll::Ready(Ok(()))
    }

    fn add(&mut self, piece: Bytes) -> Result<(), Problem> {
        let found = self.first.len().max(self.all.len()) + piece.len();
        if self.max > 0 && found > self.max {
            let (limit, max) = (Limit::BodyBytes, self.max);
            return Err(error::over_limit(OverLimit { limit, max, found }));
        }
        if found > self.announced && !self.gateway.extend_body(&mut self.permit, piece.len()) {
            return Err(Problem::busy());
        }
        if self.first.is_empty() {
            self.first = piece;
            return Ok(());
        }
        if self.all.is_empty() {
            self.all.reserve(self.announced.max(found));
            self.all.extend_from_slice(&self.first);
        }
        self.all.extend_from_slice(&piece);
        Ok(())
    }

    fn whole(&mut self) -> Bytes {
        let (first, all) = (mem::take(&mut self.first), mem::take(&mut self.all));
        if all.is_empty() { first } else { all.freeze() }
    }
}

/// Ready when it is asked for the second time, which nobody is woken for.
///
/// Over HTTP/1, the server asks for the answer as soon as it has read the head of a request, then hands
/// over what has come of the body, and always asks again. Who has the body wake it in between makes it
/// look at the connection once more for nothing, which costs as much as all else that it does for a
/// small push.
async fn next_look() {
    let mut asked = false;
    poll_fn(|_| if mem::replace(&mut asked, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

/// Reads and forgets what is left of a body that nobody wanted, so that the connection stays of
/// use; not for ever, though. False if there may be more of it.
pub(super) async fn drain(payload: &mut Payload) -> bool {
    const ENOUGH_BYTES: usize = 1 << 20;
    const ENOUGH_TIME: Duration = Duration::from_secs(1);
    let reading = pin!(async {
        let mut drained = 0;
        loop {
            match poll_fn(|cx| Pin::new(&mut *payload).poll_next(cx)).await {
                Some(Ok(chunk)) => drained += chunk.len(),
                Some(Err(_)) => return false,
                None => return true,
            }
            if drained > ENOUGH_BYTES {
                return false;
            }
        }
    });
    within(ENOUGH_TIME, reading).await.unwrap_or(false)
}

/// Keeps an unfinished payload until the answer is sent: then the server closes the connection. Of
/// a chunked one that is dropped it would await the rest for ever.
pub(super) fn hold_payload(response: HttpResponse, payload: Payload) -> HttpResponse {
    struct Unfinished {
        body: BoxBody,
        _payload: Payload,
    }

    impl MessageBody for Unfinished {
        type Error = <BoxBody as MessageBody>::Error;

        fn size(&self) -> BodySize {
            self.body.size()
        }

        fn poll_next(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Bytes, Self::Error>>> {
            self.body.as_pin_mut().poll_next(cx)
        }
    }

    response.map_body(|_, body| Unfinished { body, _payload: payload }.boxed())
}

/// `None` if it takes too long. What is ready at once costs no timer.
async fn within<F: Future + Unpin>(timeout: Duration, mut future: F) -> Option<F::Output> {
    let at_once = poll_fn(|cx| match Pin::new(&mut future).poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    });
    match at_once.await {
        Some(output) => Some(output),
        None => Box::pin(tokio::time::timeout(timeout, future)).await.ok(),
    }
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
