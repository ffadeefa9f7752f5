//! Reads the bodies of requests under their limits, or discards them.

use std::future::{Future, poll_fn};
use std::mem;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use actix_http::error::PayloadError;
use actix_http::{HttpMessage, Payload, Request};
use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::web::{Bytes, BytesMut};
use futures_core::Stream;

use super::Services;
use super::error::{self, Problem};
use super::overlooked::Waiting;
use super::params::header;
use crate::gateway::limits::BodyPermit;
use crate::gateway::{Gateway, OverLimit};
use crate::telemetry::Limit;

/// Reads the whole body. Until the permit is dropped, its bytes count as in flight.
///
/// # Errors
/// If it is too long, there is no room for it, or it does not arrive completely and in time.
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

    let timeout = services.options.read_body_timeout;
    let over_http_1 = matches!(payload, Payload::H1 { .. });
    let read = {
        let mut reading = pin!(body.fill(payload));
        let read = if over_http_1 { soon(reading.as_mut()).await } else { None };
        if read.is_some() { read } else { within(timeout, reading).await }
    };
    read.unwrap_or_else(|| Err(Problem::timed_out("the body did not arrive in time")))?;
    *payload = Payload::None;
    Ok((body.whole(), body.permit))
}

/// A body that is being received.
struct Body<'g> {
    gateway: &'g Gateway,
    max: usize,
    /// Its Content-Length; 0 if it comes in chunks.
    announced: usize,
    permit: BodyPermit<'g>,
    /// The first piece. Most bodies come in one, and then need not be copied.
    first: Bytes,
    /// All pieces, if there are several.
    all: BytesMut,
}

impl Body<'_> {
    async fn fill(&mut self, payload: &mut Payload) -> Result<(), Problem> {
        while let Some(piece) = next_piece(payload).await {
            self.add(piece.map_err(|error| Problem::bad_request(format!("body: {error}")))?)?;
        }
        Ok(())
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

/// Discards the rest of a body that nobody wanted, so that the connection can be used again, but only up to
/// a point. False if there may be more of it.
pub(super) async fn drain(payload: &mut Payload) -> bool {
    const ENOUGH_BYTES: usize = 1 << 20;
    const ENOUGH_TIME: Duration = Duration::from_secs(1);
    let reading = async {
        let mut drained = 0;
        while let Some(piece) = next_piece(payload).await {
            match piece {
                Ok(piece) => drained += piece.len(),
                Err(_) => return false,
            }
            if drained > ENOUGH_BYTES {
                return false;
            }
        }
        true
    };
    within(ENOUGH_TIME, pin!(reading)).await.unwrap_or(false)
}

fn next_piece(payload: &mut Payload) -> impl Future<Output = Option<Result<Bytes, PayloadError>>> {
    poll_fn(|cx| Pin::new(&mut *payload).poll_next(cx))
}

/// Reads a body over HTTP/1 that has arrived together with its head; `None` if it has not, and reading has
/// to go on.
///
/// The server polls the answer as soon as it has the head of a request, then hands over what it has
/// received of the body, and polls again. If the body woke its reader in between, the server would look
/// at the connection once more for nothing, which costs as much as everything else that it does for a
/// small push. So the first look uses a waker that wakes nobody.
///
/// In two cases the server does not poll again at once: if the request was pipelined behind an answer with
/// a body, and if something was awaited before, such as the check of a password. Then it polls when more
/// of the body arrives; and if nothing does, [`Waiting`] makes it poll.
async fn soon<F: Future>(mut reading: Pin<&mut F>) -> Option<F::Output> {
    let mut waiting = None;
    poll_fn(|cx| {
        if waiting.take().is_some() {
            return Poll::Ready(None);
        }
        match reading.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(read) => Poll::Ready(Some(read)),
            Poll::Pending => {
                waiting = Some(Waiting::begin(cx.waker()));
                Poll::Pending
            }
        }
    })
    .await
}

/// `None` if it takes too long. What is ready at once needs no timer.
async fn within<F: Future>(timeout: Duration, mut future: Pin<&mut F>) -> Option<F::Output> {
    let at_once = poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    });
    match at_once.await {
        Some(output) => Some(output),
        None => Box::pin(tokio::time::timeout(timeout, future)).await.ok(),
    }
}

/// Keeps something until the answer is sent, or given up.
///
/// One use is an unfinished payload: while it is there, the server closes the connection after the answer. If a
/// chunked payload were dropped before, the server would wait for its rest for ever.
pub(super) fn hold<T: Unpin + 'static>(response: HttpResponse, kept: T) -> HttpResponse {
    struct Holding<T> {
        body: BoxBody,
        _kept: T,
    }

    impl<T: Unpin> MessageBody for Holding<T> {
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

    response.map_body(|_, body| Holding { body, _kept: kept }.boxed())
}
