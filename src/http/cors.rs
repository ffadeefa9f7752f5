//! Requests that a browser makes for pages of other sites (clients R17): which pages may send them, and the
//! preflight requests that ask for permission.

use actix_http::{HttpMessage, Request};
use actix_web::HttpResponse;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderValue};

/// The methods of our paths, and the headers that a push may need.
const METHODS: HeaderValue = HeaderValue::from_static("DELETE, GET, HEAD, POST, PUT");
const HEADERS: HeaderValue = HeaderValue::from_static(
    "Accept, Authorization, Content-Encoding, Content-Type, Idempotency-Key, Push-Epoch, \
     Push-Final, Push-Merge, Push-Mode, Push-Seq, Push-Source, Push-Time, Push-TTL",
);
/// Headers of an answer that a page may read besides the usual ones.
const EXPOSED: HeaderValue = HeaderValue::from_static("Idempotent-Replayed, Retry-After");
/// Browsers ask again after at most two hours.
const MAX_AGE_S: HeaderValue = HeaderValue::from_static("7200");

/// The origins of pages that may send requests; `*` is any.
#[derive(Clone, Debug, Default)]
pub(super) struct Cors {
    origins: Vec<String>,
}

impl Cors {
    pub(super) fn new(origins: Vec<String>) -> Cors {
        Cors { origins }
    }

    /// The value of `Access-Control-Allow-Origin`.
    fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        if self.any() {
            return Some(HeaderValue::from_static("*"));
        }
        let known = self.origins.iter().any(|known| known.as_bytes() == origin.as_bytes());
        known.then(|| origin.clone())
    }

    fn any(&self) -> bool {
        self.origins.iter().any(|origin| origin == "*")
    }

    /// The answer to a preflight request for a page that may send requests. Credentials are not checked
    /// before, because browsers do not send any with it.
    pub(super) fn preflight(&self, request: &Request) -> Option<HttpResponse> {
        let headers = request.headers();
        let asks = request.method() == Method::OPTIONS
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if self.origins.is_empty() || !asks || self.allowed(headers).is_none() {
            return None;
        }
        Some(
            HttpResponse::NoContent()
                .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, METHODS))
                .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS))
                .insert_header((header::ACCESS_CONTROL_MAX_AGE, MAX_AGE_S))
                .finish(),
        )
    }

    /// For every answer, even errors: a page that cannot read one would push again.
    pub(super) fn decorate(&self, request: &Request, response: &mut HttpResponse) {
        if self.origins.is_empty() {
            return;
        }
        let headers = response.headers_mut();
        if !self.any() {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        if headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
            return;
        }
        let Some(origin) = self.allowed(request.headers()) else { return };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        if !self.any() {
            // `sendBeacon` always asks with credentials.
            let yes = HeaderValue::from_static("true");
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
    }
}
