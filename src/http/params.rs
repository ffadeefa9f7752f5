//! Parameters of a request that may be in a header, or in the query for clients that can only choose the
//! URL (DESIGN 2).

use std::borrow::Cow;

use actix_http::{HttpMessage, Request};
use actix_web::http::header::{AsHeaderName, HeaderMap};

use super::error::Problem;
use crate::gateway::{Key, PushId, Selector, Sequence, TextError, key_text};
use crate::model::{GaugeRule, Ttl};
use crate::units::parse_duration;

/// The query, still encoded; empty if there is none.
fn query_string(request: &Request) -> &str {
    request.uri().query().unwrap_or_default()
}

/// All `name=value` pairs of the query, decoded.
pub(super) fn query(request: &Request) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    form_urlencoded::parse(query_string(request).as_bytes())
}

/// The text of a header; `None` if it is not visible ASCII.
pub(super) fn header(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// The text of a header that is a list. Several lines of it make one list.
pub(super) fn list_header(headers: &HeaderMap, name: impl AsHeaderName) -> Option<Cow<'_, str>> {
    let mut lines = headers.get_all(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let first = lines.next()?;
    Some(lines.fold(first, |list, line| Cow::Owned(format!("{list},{line}"))))
}

/// True for `?dry_run`, `?dry_run=1` and `?dry_run=true`.
pub(super) fn dry_run(request: &Request) -> bool {
    query(request).any(|(name, value)| name == "dry_run" && matches!(&*value, "" | "1" | "true"))
}

/// The selectors in `match[]`. With `required` there must be at least one. Each must exclude something.
///
/// # Errors
/// 400 if one cannot be read.
pub(super) fn selectors(request: &Request, required: bool) -> Result<Vec<Selector>, Problem> {
    let texts = query(request).filter(|(name, _)| name == "match[]" || name == "match");
    let mut selectors = Vec::new();
    for (_, text) in texts {
        let selector = Selector::parse(&text)
            .and_then(|selector| selector.check_selective().map(|()| selector))
            .map_err(|error| Problem::bad_request(format!("match[]: {error}")))?;
        selectors.push(selector);
    }
    if required && selectors.is_empty() {
        return Err(Problem::bad_request(
            "match[] is missing: which series? For example curl -G --data-urlencode \
             'match[]={job=\"x\"}' URL",
        ));
    }
    Ok(selectors)
}

/// What a push says about itself, besides path and body.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct PushParams {
    pub(super) merge: Option<GaugeRule>,
    pub(super) ttl: Option<Ttl>,
    /// Nanoseconds since the Unix epoch.
    pub(super) time: Option<i64>,
    pub(super) id: Option<PushId>,
}

/// Names of headers, and of the query parameters that mean the same.
const KEY: (&str, &str) = ("idempotency-key", "key");
const SOURCE: (&str, &str) = ("push-source", "source");
const EPOCH: (&str, &str) = ("push-epoch", "epoch");
const NUMBER: (&str, &str) = ("push-seq", "seq");

impl PushParams {
    /// # Errors
    /// 400 if one of them cannot be read, or is not supported: ignoring it would change what the push means.
    pub(super) fn of(request: &Request) -> Result<PushParams, Problem> {
        // Most pushes say nothing about themselves, and it costs to look for each name.
        let is_ours = |name: &str| name.starts_with("push-") || name == "idempotency-key";
        if query_string(request).is_empty()
            && !request.headers().keys().any(|name| is_ours(name.as_str()))
        {
            return Ok(PushParams::default());
        }
        let id = push_id(request, true)?;
        if value(request, "push-final", "final")?.is_some() {
            return Err(not_supported("push-final"));
        }
        if value(request, "push-mode", "mode")?.is_some_and(|mode| mode != "delta") {
            return Err(not_supported("push-mode"));
        }
        let ttl = |text: &str| parse_duration(text).ok().map(Ttl::from_duration);
        Ok(PushParams {
            merge: parsed(request, ("push-merge", "merge"), |text| text.parse().ok())?,
            ttl: parsed(request, ("push-ttl", "ttl"), ttl)?,
            time: parsed(request, ("push-time", "time"), unix_nanos)?,
            id,
        })
    }
}

/// Which push this is: a key, or source, epoch and number together. With `by_query`, the query may say it,
/// too.
///
/// # Errors
/// 400 if they cannot be read, or do not belong together.
pub(super) fn push_id(request: &Request, by_query: bool) -> Result<Option<PushId>, Problem> {
    let names = |(header, query)| (header, if by_query { query } else { "" });
    let key = identifier(request, names(KEY), Key::parse)?;
    let source = identifier(request, names(SOURCE), key_text)?;
    let epoch = identifier(request, names(EPOCH), key_text)?;
    let number = parsed(request, names(NUMBER), number)?;
    match (key, source, epoch, number) {
        (None, None, None, None) => Ok(None),
        (Some(key), None, None, None) => Ok(Some(PushId::Key(key))),
        (None, Some(source), Some(epoch), Some(number)) => {
            Ok(Some(PushId::Sequence(Sequence { source, epoch, number })))
        }
        (Some(_), ..) => Err(Problem::bad_request(
            "a push has an Idempotency-Key, or Push-Source, Push-Epoch and Push-Seq, but not both",
        )),
        _ => Err(Problem::bad_request(
            "Push-Source, Push-Epoch and Push-Seq belong together: who counts its pushes, since \
             when, and which one this is",
        )),
    }
}

fn identifier<T>(
    request: &Request,
    (header_name, query_name): (&str, &str),
    parse: fn(&[u8]) -> Result<T, TextError>,
) -> Result<Option<T>, Problem> {
    let Some(text) = value(request, header_name, query_name)? else { return Ok(None) };
    let malformed = |error| Problem::bad_request(format!("{header_name}: {error}"));
    parse(text.as_bytes()).map(Some).map_err(malformed)
}

/// Digits and nothing else.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn parsed<T>(
    request: &Request,
    (header_name, query_name): (&str, &str),
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, Problem> {
    let Some(text) = value(request, header_name, query_name)? else { return Ok(None) };
    parse(&text).map(Some).ok_or_else(|| bad_value(header_name, &text))
}

/// The value of a header or of a query parameter. With an empty name, the query is ignored.
///
/// # Errors
/// 400 if it is given twice: client, proxy and gateway might each follow another one.
pub(super) fn value<'r>(
    request: &'r Request,
    header_name: &str,
    query_name: &str,
) -> Result<Option<Cow<'r, str>>, Problem> {
    let headers = request.headers().get_all(header_name);
    let mut headers = headers.map(|value| String::from_utf8_lossy(value.as_bytes()));
    let mut queries = query(request)
        .filter(|(name, _)| !query_name.is_empty() && name == query_name)
        .map(|(_, value)| value);
    let first = headers.next().or_else(|| queries.next());
    match headers.next().or_else(|| queries.next()) {
        Some(_) => Err(Problem::bad_request(format!("{header_name} is given twice"))),
        None => Ok(first),
    }
}

fn not_supported(name: &str) -> Problem {
    Problem::bad_request(format!(
        "{name} is not supported by this version, and ignoring it would miscount"
    ))
}

fn bad_value(name: &str, text: &str) -> Problem {
    let accepted = match name {
        "push-merge" => "last, sum, min, max or mean",
        "push-seq" => "a whole number below 2^64",
        "push-ttl" => "a duration such as 90s, 5m or 1h; 0 is for ever",
        _ => "seconds since the Unix epoch, such as 1700000000.123",
    };
    let text: String = text.chars().take(40).collect();
    Problem::bad_request(format!("{name}: {text:?} is not {accepted}"))
}

fn unix_nanos(text: &str) -> Option<i64> {
    let seconds: f64 = text.trim().parse().ok()?;
    let nanos = seconds * 1e9;
    (seconds >= 0.0 && nanos < i64::MAX as f64).then_some(nanos as i64)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn several_lines_are_one_list() {
        let request = TestRequest::get()
            .append_header(("Accept-Encoding", "br"))
            .append_header(("Accept-Encoding", "gzip, zstd"))
            .to_request();
        let list = |name| list_header(request.headers(), name).map(Cow::into_owned);
        assert_eq!(list("accept-encoding").as_deref(), Some("br,gzip, zstd"));
        assert_eq!(list("accept"), None);
    }

    #[test]
    fn headers_and_query_mean_the_same() {
        let by_header = TestRequest::post()
            .insert_header(("Push-Merge", "max"))
            .insert_header(("Push-TTL", "1500ms"))
            .insert_header(("Push-Time", "1700000000.5"))
            .to_request();
        let by_query =
            TestRequest::post().uri("/?merge=max&ttl=1.5s&time=1700000000.5").to_request();
        let params = PushParams::of(&by_header).unwrap();
        assert_eq!(params.merge, Some(GaugeRule::Max));
        assert_eq!(params.ttl, Some(Ttl::After(Duration::from_millis(1500))));
        assert_eq!(params.time, Some(1_700_000_000_500_000_000));
        assert_eq!(PushParams::of(&by_query).unwrap(), params);
        assert_eq!(
            PushParams::of(&TestRequest::post().to_request()).unwrap(),
            PushParams::default()
        );
    }

    #[test]
    fn what_would_change_the_meaning_is_refused() {
        for (name, value) in [
            ("push-merge", "median"),
            ("push-ttl", "soon"),
            ("push-time", "-1"),
            ("push-time", "inf"),
            ("push-mode", "cumulative"),
            ("push-final", "?1"),
        ] {
            let request = TestRequest::post().insert_header((name, value)).to_request();
            let problem = PushParams::of(&request).unwrap_err();
            assert!(problem.detail().starts_with(name), "{}", problem.detail());
        }
        let request = TestRequest::post().uri("/?final=1").to_request();
        assert!(PushParams::of(&request).is_err());
    }

    #[test]
    fn what_is_given_twice_is_refused() {
        for (header, value, query) in [
            ("push-mode", "delta", "mode"),
            ("push-merge", "max", "merge"),
            ("push-ttl", "1h", "ttl"),
            ("push-time", "5", "time"),
            ("idempotency-key", "k", "key"),
            ("push-seq", "5", "seq"),
        ] {
            let by_headers =
                TestRequest::post().append_header((header, value)).append_header((header, value));
            let by_both = TestRequest::post()
                .insert_header((header, value))
                .uri(&format!("/?{query}={value}"));
            let by_query = TestRequest::post().uri(&format!("/?{query}={value}&x=1&{query}=other"));
            for request in [by_headers, by_both, by_query] {
                let problem = PushParams::of(&request.to_request()).unwrap_err();
                assert_eq!(problem.detail(), format!("{header} is given twice"));
            }
        }
    }

    #[test]
    fn selectors_are_read_and_must_select() {
        let ask =
            |uri: &str, required| selectors(&TestRequest::get().uri(uri).to_request(), required);
        assert_eq!(ask("/?match[]=up&match%5B%5D=%7Bjob%3D%22a%22%7D", true).unwrap().len(), 2);
        assert_eq!(ask("/", false).unwrap().len(), 0);
        assert!(ask("/", true).is_err());
        assert!(ask("/?match[]=%7B%7D", true).is_err());
        assert!(ask("/?match[]=%7B", false).is_err());
    }
}
