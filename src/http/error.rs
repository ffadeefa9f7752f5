//! Errors as clients see them: RFC 9457 problem documents, on one line.
//!
//! The one table that maps what went wrong to a status and a title. Each of these answers means that nothing
//! was applied.

use std::ops::Deref;
use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::{Serialize, Serializer};

use super::grouping::PathError;
use crate::format::compress::DecodeError;
use crate::format::{ParseError, Place};
use crate::gateway::{AdmitError, ClaimError, NotDurable, OverLimit, PushError, StoreLimit};
use crate::model::OutOfScope;
use crate::telemetry::log::beginning;
use crate::telemetry::{AuthRefusal, Limit, Outcome};

/// The answer to a request that is refused. Boxed, because `Result`s with it are moved around a lot, and most
/// of them are `Ok` and small.
#[derive(Debug)]
pub(super) struct Problem(Box<Document>);

#[derive(Debug, Default, Serialize)]
pub(super) struct Document {
    #[serde(skip)]
    status: StatusCode,
    title: &'static str,
    #[serde(rename = "status")]
    code: u16,
    #[serde(serialize_with = "quoted")]
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "quoted_if_any")]
    family: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "quoted_if_any")]
    series: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(skip)]
    retry_after_s: Option<u32>,
    #[serde(skip)]
    allow: Option<&'static str>,
    /// How to authenticate.
    #[serde(skip)]
    challenges: &'static [&'static str],
    #[serde(skip)]
    clash: bool,
    #[serde(skip)]
    pub(super) limit_passed: Option<Limit>,
    #[serde(skip)]
    pub(super) auth_refusal: Option<AuthRefusal>,
}

/// Answers quote names and labels of the push, but not without end.
fn quoted<S: Serializer>(text: &str, to: S) -> Result<S::Ok, S::Error> {
    const QUOTED_BYTES_MAX: usize = 1000;
    to.serialize_str(&beginning(text, QUOTED_BYTES_MAX))
}

fn quoted_if_any<S: Serializer>(text: &Option<String>, to: S) -> Result<S::Ok, S::Error> {
    quoted(text.as_deref().unwrap_or_default(), to)
}

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Problem {
        let (code, detail) = (status.as_u16(), detail.into());
        Problem(Box::new(Document { status, title, code, detail, ..Document::default() }))
    }

    fn with(mut self, change: impl FnOnce(&mut Document)) -> Problem {
        change(&mut self.0);
        self
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "malformed request", detail)
    }

    /// Programs that speak other protocols use the paths of those.
    pub(super) fn not_found(path: &str) -> Problem {
        let other = match path {
            _ if path.ends_with("/v1/metrics") => "OTLP is not supported; ",
            _ if path.ends_with("/api/v1/write") => "remote write is not supported; ",
            _ => "",
        };
        Problem::new(StatusCode::NOT_FOUND, "not found", "no such path")
            .hint(format!("{other}pushes go to /metrics/job/<job>, scrapes to /metrics"))
    }

    pub(super) fn method_not_allowed(allow: &'static str) -> Problem {
        let detail = format!("this path takes {allow}");
        let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed", detail);
        problem.with(|document| document.allow = Some(allow))
    }

    /// With `tokens`, some users have tokens.
    pub(super) fn unauthorized(detail: impl Into<String>, tokens: bool) -> Problem {
        const BASIC: &str = "Basic realm=\"tallygate\", charset=\"UTF-8\"";
        const BEARER: &str = "Bearer realm=\"tallygate\"";
        let challenges: &[&str] = if tokens { &[BASIC, BEARER] } else { &[BASIC] };
        let problem = Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail);
        problem.with(|document| document.challenges = challenges)
    }

    pub(super) fn forbidden(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    pub(super) fn too_many_requests(wait: Duration) -> Problem {
        let detail = "more requests than the rate limit of the web configuration file allows";
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "over a limit", detail);
        let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        problem.with(|document| document.retry_after_s = Some(seconds))
    }

    pub(super) fn broken_configuration() -> Problem {
        let detail = "the web configuration file has become invalid; the log says why";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "invalid configuration", detail)
    }

    /// `flag` turns on what was asked for.
    pub(super) fn not_enabled(flag: &str) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "not enabled", "this gateway does not allow that")
            .hint(format!("start it with {flag}"))
    }

    pub(super) fn unsupported(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported body", detail)
    }

    pub(super) fn timed_out(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::REQUEST_TIMEOUT, "too slow", detail)
    }

    pub(super) fn unavailable(detail: impl Into<String>) -> Problem {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not ready", detail);
        problem.with(|document| document.retry_after_s = Some(1))
    }

    pub(super) fn busy() -> Problem {
        let detail = "too many bytes of pushes are in flight";
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "over a limit", detail)
            .at_limit(Limit::InflightPushBytes);
        problem.with(|document| document.retry_after_s = Some(1))
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Problem {
        self.with(|document| document.hint = Some(hint.into()))
    }

    fn at_limit(self, limit: Limit) -> Problem {
        self.with(|document| {
            document.limit = Some(limit.word());
            document.limit_passed = Some(limit);
        })
    }

    /// A push to a group that could be read, but contradicts what is stored.
    pub(super) fn clash(detail: impl Into<String>) -> Problem {
        Problem::bad_request(detail).with(|document| document.clash = true)
    }

    pub(super) fn is_clash(&self) -> bool {
        self.clash
    }

    /// There is no room for what a push to a group brings.
    pub(super) fn too_many(limit: Limit, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "over a limit", detail).at_limit(limit)
    }

    /// The Pushgateway has one answer for all that is wrong with a push.
    pub(super) fn into_bad_request(self) -> Problem {
        match self.status {
            StatusCode::UNPROCESSABLE_ENTITY => {
                let (status, code) = (StatusCode::BAD_REQUEST, StatusCode::BAD_REQUEST.as_u16());
                self.with(|document| (document.status, document.code) = (status, code))
            }
            _ => self,
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// What a push with this answer is counted as.
    pub(super) fn outcome(&self) -> Outcome {
        match self.status {
            StatusCode::PAYLOAD_TOO_LARGE => Outcome::TooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Outcome::UnsupportedType,
            StatusCode::UNPROCESSABLE_ENTITY => Outcome::Unacceptable,
            StatusCode::TOO_MANY_REQUESTS => Outcome::OverLimit,
            StatusCode::REQUEST_TIMEOUT => Outcome::TimedOut,
            StatusCode::CONFLICT => Outcome::InFlight,
            StatusCode::SERVICE_UNAVAILABLE => Outcome::Unavailable,
            StatusCode::FORBIDDEN => Outcome::Forbidden,
            _ => Outcome::Malformed,
        }
    }

    /// As text on one line, for clients of the Pushgateway.
    pub(super) fn plain_response(&self) -> HttpResponse {
        const SHOWN_BYTES_MAX: usize = 8000;
        let mut response = self.begin("text/plain; charset=utf-8");
        let mut body = match self.status {
            StatusCode::NOT_FOUND => "404 page not found".to_owned(),
            StatusCode::METHOD_NOT_ALLOWED => "Method Not Allowed".to_owned(),
            _ => beginning(&self.detail, SHOWN_BYTES_MAX).replace(['\n', '\r'], " "),
        };
        if let Some(hint) = self.hint.as_ref().filter(|_| self.status.as_u16() == 403) {
            body = format!("{body}: {hint}");
        }
        body.push('\n');
        response.body(body)
    }

    pub(super) fn response(&self) -> HttpResponse {
        let mut response = self.begin("application/problem+json");
        let mut body = serde_json::to_string(&self.0).unwrap_or_else(|_| self.detail.clone());
        body.push('\n');
        response.body(body)
    }

    fn begin(&self, content_type: &'static str) -> HttpResponseBuilder {
        let mut response = HttpResponseBuilder::new(self.status);
        response.insert_header((header::CONTENT_TYPE, content_type));
        response.insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
        if let Some(seconds) = self.retry_after_s {
            response.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        if let Some(allow) = self.allow {
            response.insert_header((header::ALLOW, allow));
        }
        for challenge in self.challenges {
            response.append_header((header::WWW_AUTHENTICATE, *challenge));
        }
        response
    }
}

impl Deref for Problem {
    type Target = Document;

    fn deref(&self) -> &Document {
        &self.0
    }
}

impl From<PathError> for Problem {
    fn from(error: PathError) -> Problem {
        Problem::bad_request(error.to_string()).hint(
            "the path is /metrics, then pairs /<label>/<value>; use <label>@base64 for odd values",
        )
    }
}

impl From<OutOfScope> for Problem {
    fn from(error: OutOfScope) -> Problem {
        let problem = Problem::forbidden(error.to_string())
            .hint("this user may push under some labels only, which auth.file gives");
        problem.with(|document| document.auth_refusal = Some(AuthRefusal::Labels))
    }
}

/// A change that was under way is not undone: it may be durable after all.
impl From<NotDurable> for Problem {
    fn from(error: NotDurable) -> Problem {
        Problem::unavailable(error.to_string())
            .hint("try again")
            .with(|document| document.title = "not durable")
    }
}

impl From<DecodeError> for Problem {
    fn from(error: DecodeError) -> Problem {
        match error {
            DecodeError::TooLarge { max } => over_limit(OverLimit {
                limit: Limit::DecodedBodyBytes,
                max,
                found: max.saturating_add(1),
            }),
            error => Problem::bad_request(error.to_string())
                .hint("the body does not fit its Content-Encoding"),
        }
    }
}

impl From<PushError> for Problem {
    fn from(error: PushError) -> Problem {
        let detail = error.to_string();
        let unacceptable =
            || Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unacceptable push", detail.clone());
        match error {
            PushError::Parse(error) => malformed(&error),
            PushError::OverLimit(error) => over_limit(error),
            PushError::Reserved(family) => {
                let problem = unacceptable().hint("give the metric another name");
                problem.with(|document| document.family = Some(family))
            }
            PushError::LabelTaken { family, .. } => {
                let problem = Problem::bad_request(detail).hint("leave the label out of the path");
                problem.with(|document| document.family = Some(family))
            }
            PushError::NotDurable(error) => error.into(),
            PushError::Clash(_) => Problem::bad_request(detail),
            PushError::KeyRequired { .. } => {
                Problem::new(StatusCode::BAD_REQUEST, "key-required", detail).hint(
                    "send the header Idempotency-Key, new for each push and the same for its \
                     retries",
                )
            }
            PushError::Claim(error) => error.into(),
            PushError::OutOfScope(error) => {
                Problem::from(error).with(|document| document.detail = detail)
            }
            PushError::HintNotAllowed => unacceptable().hint("leave Push-Merge out"),
            PushError::Ttl { .. } => unacceptable().hint("ask for less in Push-TTL"),
            PushError::Admit(AdmitError::Refused { family, series, refusal }) => {
                let problem = unacceptable().hint(refusal.hint());
                problem.with(|document| {
                    document.family = Some(family);
                    document.series = Some(series);
                })
            }
            PushError::Admit(AdmitError::Kind { family, .. }) => {
                let hint =
                    "one name has one type: rename the metric, or delete the stored series first";
                unacceptable().hint(hint).with(|document| document.family = Some(family))
            }
            PushError::Admit(AdmitError::Unit { family, .. }) => {
                let hint = "amounts in different units cannot be added: rename the metric";
                unacceptable().hint(hint).with(|document| document.family = Some(family))
            }
            PushError::Admit(AdmitError::NameTaken { family, .. }) => {
                let hint = "their sample lines would be told apart by nobody: rename one of them";
                unacceptable().hint(hint).with(|document| document.family = Some(family))
            }
            PushError::Admit(AdmitError::Limit(error)) => {
                let (status, limit) = match error.limit {
                    StoreLimit::Series => (StatusCode::TOO_MANY_REQUESTS, Limit::Series),
                    StoreLimit::SeriesPerJob => {
                        (StatusCode::TOO_MANY_REQUESTS, Limit::SeriesPerJob)
                    }
                    StoreLimit::Families => (StatusCode::TOO_MANY_REQUESTS, Limit::Families),
                    // Trying again would not help.
                    StoreLimit::BucketBounds => {
                        (StatusCode::UNPROCESSABLE_ENTITY, Limit::BucketBounds)
                    }
                };
                let cure = match error.limit {
                    StoreLimit::Series | StoreLimit::SeriesPerJob => "fewer different label values",
                    StoreLimit::Families => "fewer different metric names",
                    StoreLimit::BucketBounds => "the same bucket bounds from everywhere",
                };
                let hint = format!("push {cure}, or raise limits.{}", limit.word());
                Problem::new(status, "over a limit", detail).at_limit(limit).hint(hint)
            }
        }
    }
}

impl From<ClaimError> for Problem {
    fn from(error: ClaimError) -> Problem {
        let (status, title, hint) = match error {
            ClaimError::InFlight => {
                (StatusCode::CONFLICT, "push-in-flight", "try again, with the same key")
            }
            ClaimError::OtherPush => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "key-reused",
                "each push needs a new key, and its retries the same bytes and headers",
            ),
            ClaimError::TooOld => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "key-too-old",
                "it is from before push.key_window, or from before this gateway started without \
                 its store; if the push was never answered, whether it counts is not known",
            ),
            ClaimError::FromTheFuture => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "key-from-the-future",
                "set the clock of the client, or use keys without time",
            ),
            ClaimError::BelowWindow => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "sequence-too-old",
                "retry pushes before later ones are sent",
            ),
        };
        let problem = Problem::new(status, title, error.to_string()).hint(hint);
        let in_flight = error == ClaimError::InFlight;
        problem.with(|document| document.retry_after_s = in_flight.then_some(1))
    }
}

fn malformed(error: &ParseError) -> Problem {
    let problem = Problem::new(StatusCode::BAD_REQUEST, "malformed body", error.to_string());
    match error.place {
        Place::Line { line, column } => problem.with(|document| {
            document.line = Some(line);
            document.column = Some(column);
        }),
        _ => problem,
    }
}

/// A request exceeds a limit on requests.
pub(super) fn over_limit(error: OverLimit) -> Problem {
    let status = match error.limit {
        Limit::BodyBytes | Limit::DecodedBodyBytes | Limit::SamplesPerPush => {
            StatusCode::PAYLOAD_TOO_LARGE
        }
        Limit::HeaderBytes => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Problem::new(status, "over a limit", format!("limits.{error}"))
        .at_limit(error.limit)
        .hint("send less at once, or raise the limit")
}
