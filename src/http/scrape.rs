//! `GET /metrics`: negotiates, then sends what the gateway encodes piece by piece.
//!
//! Small scrapes are encoded at once. Large ones are encoded on another thread, one step ahead of what the
//! peer has taken, so that neither pushes on the same worker nor the store ever wait for a network.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::vec;

use actix_http::{HttpMessage, Request};
use actix_web::body;
use actix_web::http::{Method, StatusCode, header};
use actix_web::rt::task::{JoinHandle, spawn_blocking};
use actix_web::web::Bytes;
use actix_web::{HttpResponse, HttpResponseBuilder};
use futures_core::Stream;
use tokio::sync::OwnedSemaphorePermit;

use super::error::Problem;
use super::params::{self, list_header};
use super::{Services, Surface};
use crate::format::negotiate;
use crate::gateway::{Content, Gateway, Scrape, ScrapeRequest, Scraper};

/// Up to this many series are encoded at once.
const INLINE_SERIES: usize = 500;

/// How much is made in one step, roughly. For each step threads have to wake each other, which costs as much
/// as sending some ten thousand bytes.
const STEP_BYTES: usize = 512 << 10;

pub(super) async fn scrape(
    surface: Surface,
    services: &Services,
    request: &Request,
) -> Result<HttpResponse, Problem> {
    let headers = request.headers();
    let accept = list_header(headers, "accept");
    let groups = services.options.pushgateway.is_some();
    let (format, escaping) = match groups {
        true => negotiate::accept_without_openmetrics(accept.as_deref()),
        false => negotiate::accept(accept.as_deref()),
    };
    let compression =
        negotiate::accept_encoding(list_header(headers, "accept-encoding").as_deref());
    let content = match surface {
        Surface::Management => Content::Own,
        Surface::Main if services.options.own_metrics_apart => Content::Pushed,
        Surface::Main => Content::PushedAndOwn,
    };
    let selectors = match groups {
        true => Vec::new(),
        false => params::selectors(request, false)?,
    };

    let mut response = HttpResponseBuilder::new(StatusCode::OK);
    response
        .insert_header((header::CONTENT_TYPE, format.content_type(escaping)))
        .insert_header((header::VARY, "Accept, Accept-Encoding"))
        .insert_header((header::CACHE_CONTROL, "no-store"));
    if let Some(coding) = compression.name() {
        response.insert_header((header::CONTENT_ENCODING, coding));
    }
    if request.method() == Method::HEAD {
        // The length is not known.
        return Ok(response.body(body::None::new()));
    }
    let permit = match surface {
        Surface::Main => Some(services.scrapes.clone().try_acquire_owned().map_err(|_| {
            Problem::unavailable("too many scrapes at once (scrape.max_in_flight)")
        })?),
        // Our own metrics are few, and wanted most when there are too many scrapes.
        Surface::Management => None,
    };

    let gateway = services.gateway.clone();
    let scraper = scraper(request);
    let wanted = ScrapeRequest { format, escaping, compression, selectors, content };
    if gateway.series_count() <= INLINE_SERIES {
        return Ok(response.body(whole(&gateway, wanted, scraper.as_ref()).map_err(no_memory)?));
    }
    let first =
        spawn_blocking(move || advance(Box::new(gateway.scrape_of(wanted, scraper.as_ref())?)));
    let ready = Vec::new().into_iter();
    Ok(response.streaming(Pieces { ready, next: Some(first), _permit: permit }))
}

/// Who scrapes, if it is somebody who does so regularly: Prometheus and the like say how long they wait. The
/// same address with different parameters counts as different scrapers.
fn scraper(request: &Request) -> Option<Scraper> {
    let headers = request.headers();
    let timeout = params::header(headers, "x-prometheus-scrape-timeout-seconds");
    let timeout_s = timeout.and_then(|seconds| seconds.parse().ok()).filter(|&s: &f64| s > 0.0);
    let query = request.uri().query().unwrap_or_default();
    let identity = if params::query(request).any(|(name, _)| name == "scraper") {
        query.to_owned()
    } else {
        timeout_s?;
        let address = request.peer_addr().map(|peer| peer.ip().to_string()).unwrap_or_default();
        let agent = params::header(headers, "user-agent").unwrap_or_default();
        format!("{address} {agent} {query}")
    };
    let timeout_ms = (timeout_s.unwrap_or_default() * 1000.0) as i64;
    Some(Scraper { identity, timeout_ms })
}

fn whole(
    gateway: &Gateway,
    wanted: ScrapeRequest,
    scraper: Option<&Scraper>,
) -> io::Result<Vec<u8>> {
    let mut scrape = gateway.scrape_of(wanted, scraper)?;
    let mut body = Vec::new();
    while let Some(piece) = scrape.next_piece()? {
        body.extend(piece);
    }
    Ok(body)
}

fn no_memory(error: io::Error) -> Problem {
    Problem::unavailable(format!("compression: {error}"))
}

/// Pieces, and the scrape, unless these are the last pieces.
type Step = io::Result<(Vec<Bytes>, Option<Box<Scrape>>)>;

fn advance(mut scrape: Box<Scrape>) -> Step {
    let (mut pieces, mut bytes) = (Vec::new(), 0);
    while bytes < STEP_BYTES {
        let Some(piece) = scrape.next_piece()? else { return Ok((pieces, None)) };
        bytes += piece.len();
        pieces.push(piece);
    }
    Ok((pieces, Some(scrape)))
}

/// The pieces of one scrape as a stream.
struct Pieces {
    ready: vec::IntoIter<Bytes>,
    /// `None` if everything that is left is ready.
    next: Option<JoinHandle<Step>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Stream for Pieces {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(piece) = self.ready.next() {
                return Poll::Ready(Some(Ok(piece)));
            }
            let Some(next) = &mut self.next else { return Poll::Ready(None) };
            let step = ready!(Pin::new(next).poll(cx));
            self.next = None;
            match step.map_err(io::Error::other).flatten() {
                Ok((pieces, scrape)) => {
                    self.ready = pieces.into_iter();
                    self.next = scrape.map(|scrape| spawn_blocking(move || advance(scrape)));
                }
                // The answer must not look complete.
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}
