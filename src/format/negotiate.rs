//! What format a scraper asks for, and what a push says it is (formats 1 and 8, clients R6 and R8).
//!
//! Scrapes are never refused: instead of what is not offered they get text 0.0.4, uncompressed. Pushes
//! are: a body that claims to be something we cannot read is not read as something else.

use std::borrow::Cow;

use super::compress::{Coding, Compression};
use super::escaping::Escaping;

/// An exposition format that is offered to scrapers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    #[default]
    Text004,
    /// The same syntax as 0.0.4, with another version in the content type.
    Text100,
    OpenMetrics001,
    OpenMetrics100,
    ProtobufDelimited,
}

/// How to read the body of a push.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PushFormat {
    #[default]
    Text,
    OpenMetrics,
    Protobuf,
}

impl PushFormat {
    pub fn word(self) -> &'static str {
        match self {
            PushFormat::Text => "text",
            PushFormat::OpenMetrics => "openmetrics",
            PushFormat::Protobuf => "protobuf",
        }
    }
}

/// The body of a push has a format or coding that is not supported (415).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    #[error("content type {0:?} is not supported")]
    ContentType(String),
    #[error("content coding {0:?} is not supported: use gzip, zstd, snappy or deflate")]
    ContentEncoding(String),
    #[error("more than {CODINGS_MAX} content codings")]
    TooManyCodings,
}

/// Nobody needs more than one. A few are harmless, as the limit applies to each.
const CODINGS_MAX: usize = 4;

const PROTO: &str = "io.prometheus.client.MetricFamily";

impl Format {
    /// The Content-Type of a scrape. It always names the escaping, as that of Prometheus' own libraries
    /// does.
    pub fn content_type(self, escaping: Escaping) -> String {
        let format = match self {
            Format::Text004 => "text/plain; version=0.0.4; charset=utf-8",
            Format::Text100 => "text/plain; version=1.0.0; charset=utf-8",
            Format::OpenMetrics001 => "application/openmetrics-text; version=0.0.1; charset=utf-8",
            Format::OpenMetrics100 => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::ProtobufDelimited => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
                 encoding=delimited"
            }
        };
        format!("{format}; escaping={}", escaping.word())
    }

    pub fn is_openmetrics(self) -> bool {
        matches!(self, Format::OpenMetrics001 | Format::OpenMetrics100)
    }
}

/// What a scrape with this Accept header gets. Clauses are tried in order of falling weight. A wildcard
/// matches no format, whatever its weight (Prometheus 2.49 gave it the highest by mistake), and if
/// nothing matches, the answer is text 0.0.4. An `escaping` applies if it is in any clause tried so
/// far, even one that does not match.
pub fn accept(header: Option<&str>) -> (Format, Escaping) {
    accept_of(header, |_| true)
}

/// The same for scrapes in pushgateway mode, which are text 0.0.4 or protobuf: OpenMetrics would change
/// the values of `le` and `quantile`, and so the identity of series (pushgateway-contract 10).
pub fn accept_without_openmetrics(header: Option<&str>) -> (Format, Escaping) {
    accept_of(header, |format| matches!(format, Format::Text004 | Format::ProtobufDelimited))
}

fn accept_of(header: Option<&str>, offered: fn(Format) -> bool) -> (Format, Escaping) {
    let mut clauses: Vec<_> =
        unquoted_split(header.unwrap_or_default(), ',').filter_map(Clause::parse).collect();
    clauses.retain(|clause| clause.weight > 0.0);
    clauses.sort_by(|a, b| {
        let wildcard = |clause: &Clause<'_>| clause.name.contains('*');
        b.weight.total_cmp(&a.weight).then_with(|| wildcard(a).cmp(&wildcard(b)))
    });
    let mut escaping = Escaping::default();
    for clause in &clauses {
        if let Some(named) = clause.last("escaping").and_then(Escaping::from_word) {
            escaping = named;
        }
        if let Some(format) = clause.format().filter(|format| offered(*format)) {
            return (format, escaping);
        }
    }
    (Format::Text004, escaping)
}

/// How to read a push with this Content-Type. It is a hint: if it is missing, unknown or garbled, the
/// body is read as text, which is what nearly every client sends that cannot name its type.
///
/// # Errors
/// If it names a variant of a known format that is not supported.
pub fn push_format(header: Option<&str>) -> Result<PushFormat, Unsupported> {
    let header = header.unwrap_or_default();
    // What nearly all clients send, without taking it apart.
    match header {
        ""
        | "text/plain"
        | "text/plain; version=0.0.4"
        | "text/plain; version=0.0.4; charset=utf-8" => {
            return Ok(PushFormat::Text);
        }
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited" =>
        {
            return Ok(PushFormat::Protobuf);
        }
        _ => {}
    }
    let Some(clause) = Clause::parse(header) else {
        return Ok(PushFormat::Text);
    };
    let readable = match &*clause.name {
        "application/vnd.google.protobuf" => {
            let fits = clause.all("proto", |value| value == PROTO)
                && clause.all("encoding", |value| value.eq_ignore_ascii_case("delimited"));
            fits.then_some(PushFormat::Protobuf)
        }
        "application/openmetrics-text" => clause
            .all("version", |value| matches!(value, "" | "0.0.1" | "1.0.0"))
            .then_some(PushFormat::OpenMetrics),
        "application/openmetrics-protobuf" => None,
        _ => Some(PushFormat::Text),
    };
    readable.ok_or_else(|| Unsupported::ContentType(header.to_owned()))
}

/// The same in pushgateway mode: whatever is not exactly delimited protobuf is text
/// (pushgateway-contract 3).
pub fn group_push_format(header: Option<&str>) -> PushFormat {
    match header.and_then(Clause::parse).and_then(|clause| clause.format()) {
        Some(Format::ProtobufDelimited) => PushFormat::Protobuf,
        _ => PushFormat::Text,
    }
}

/// How to compress a scrape with this Accept-Encoding header: by weight. If weights are equal, zstd
/// comes before gzip, because a client that names it can read it and it takes a fraction of the
/// processor time, and both come before no compression. `*` stands for gzip, which is what everybody
/// means by it.
pub fn accept_encoding(header: Option<&str>) -> Compression {
    let (mut zstd, mut gzip, mut identity, mut any) = (None, None, None, None);
    for clause in unquoted_split(header.unwrap_or_default(), ',').filter_map(Clause::parse) {
        match &*clause.name {
            "zstd" => zstd = Some(clause.weight),
            "gzip" | "x-gzip" => gzip = Some(clause.weight),
            "identity" => identity = Some(clause.weight),
            "*" => any = Some(clause.weight),
            _ => {}
        }
    }
    let candidates = [
        (Compression::Zstd, zstd.unwrap_or(0.0)),
        (Compression::Gzip, gzip.or(any).unwrap_or(0.0)),
        (Compression::Identity, identity.unwrap_or(0.0)),
    ];
    let mut best = (Compression::Identity, 0.0);
    for candidate in candidates {
        if candidate.1 > best.1 {
            best = candidate;
        }
    }
    best.0
}

/// The codings of a push with this Content-Encoding header, in the order they were applied; they are
/// undone in reverse.
///
/// # Errors
/// If it names a coding that is not supported.
pub fn content_encoding(header: Option<&str>) -> Result<Vec<Coding>, Unsupported> {
    let mut codings = Vec::new();
    for name in header.unwrap_or_default().split(',') {
        let name = name.trim_matches([' ', '\t']);
        if name.is_empty() || name.eq_ignore_ascii_case("identity") {
            continue;
        }
        let coding =
            Coding::from_name(name).ok_or_else(|| Unsupported::ContentEncoding(name.to_owned()))?;
        if codings.len() == CODINGS_MAX {
            return Err(Unsupported::TooManyCodings);
        }
        codings.push(coding);
    }
    Ok(codings)
}

/// One element of a list header: `name; parameter=value; …`.
struct Clause<'a> {
    /// Lower case.
    name: String,
    /// Names in lower case, values without quotes; a name may occur more than once.
    parameters: Vec<(String, Cow<'a, str>)>,
    /// 0 to 1; 0 if it is malformed.
    weight: f64,
}

impl<'a> Clause<'a> {
    /// `None` if there is no name.
    fn parse(text: &'a str) -> Option<Clause<'a>> {
        let mut parts = unquoted_split(text, ';').map(|part| part.trim_matches([' ', '\t']));
        let name = parts.next().filter(|name| !name.is_empty())?.to_ascii_lowercase();
        let mut parameters: Vec<_> = parts
            .filter_map(|part| part.split_once('='))
            .map(|(name, value)| {
                (name.trim_end().to_ascii_lowercase(), unquote(value.trim_start()))
            })
            .collect();
        let mut weight = 1.0;
        parameters.retain(|(name, value)| {
            if name == "q" {
                let read = value.parse::<f64>().ok().filter(|weight| weight.is_finite());
                weight = read.unwrap_or(0.0).clamp(0.0, 1.0);
            }
            name != "q"
        });
        Some(Clause { name, parameters, weight })
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.parameters.iter().filter(move |(n, _)| n == name).map(|(_, value)| &**value)
    }

    fn last(&self, name: &str) -> Option<&str> {
        self.values(name).last()
    }

    /// Whether every parameter of this name, if there is any, has an acceptable value.
    fn all(&self, name: &str, will_do: impl Fn(&str) -> bool) -> bool {
        self.values(name).all(will_do)
    }

    /// The format that a clause of an Accept header asks for, if it is offered.
    fn format(&self) -> Option<Format> {
        match (&*self.name, self.last("version").unwrap_or_default()) {
            ("text/plain", "" | "0.0.4") => Some(Format::Text004),
            ("text/plain", "1.0.0") => Some(Format::Text100),
            ("application/openmetrics-text", "" | "0.0.1") => Some(Format::OpenMetrics001),
            ("application/openmetrics-text", "1.0.0") => Some(Format::OpenMetrics100),
            ("application/vnd.google.protobuf", _) => {
                let fits =
                    self.last("proto") == Some(PROTO) && self.last("encoding") == Some("delimited");
                fits.then_some(Format::ProtobufDelimited)
            }
            _ => None,
        }
    }
}

/// Splits at separators outside quoted strings.
fn unquoted_split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c| {
        if escaped {
            escaped = false;
        } else if c == '"' {
            quoted = !quoted;
        } else if quoted && c == '\\' {
            escaped = true;
        }
        c == separator && !quoted
    })
}

fn unquote(value: &str) -> Cow<'_, str> {
    let Some(inside) = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) else {
        return Cow::Borrowed(value);
    };
    if !inside.contains('\\') {
        return Cow::Borrowed(inside);
    }
    let mut escaped = false;
    let kept = inside.chars().filter(|&c| {
        escaped = c == '\\' && !escaped;
        !escaped
    });
    Cow::Owned(kept.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use Escaping::{AllowUtf8, Dots, Underscores, Values};
    use Format::{OpenMetrics001, OpenMetrics100, ProtobufDelimited, Text004, Text100};

    const PROTOBUF: &str = "application/vnd.google.protobuf;\
        proto=io.prometheus.client.MetricFamily;encoding=delimited";

    #[track_caller]
    fn accepts(header: &str, format: Format, escaping: Escaping) {
        assert_eq!(accept(Some(header)), (format, escaping), "{header}");
    }

    #[test]
    fn what_prometheus_really_sends() {
        // 2.5 to 2.33
        accepts(
            "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            OpenMetrics001,
            Underscores,
        );
        // 2.34 to 2.48, and with native histograms
        accepts(
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;\
             version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            OpenMetrics100,
            Underscores,
        );
        accepts(
            &format!(
                "{PROTOBUF},application/openmetrics-text;version=1.0.0;q=0.8,\
                 application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,\
                 */*;q=0.1"
            ),
            ProtobufDelimited,
            Underscores,
        );
        // 2.49: the wildcard has the highest weight by mistake, in both variants.
        accepts(
            "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;\
             version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=2",
            OpenMetrics100,
            Underscores,
        );
        accepts(
            &format!(
                "{PROTOBUF};q=0.5,application/openmetrics-text;version=1.0.0;q=0.4,\
                 application/openmetrics-text;version=0.0.1;q=0.3,text/plain;version=0.0.4;q=0.2,\
                 */*;q=1"
            ),
            ProtobufDelimited,
            Underscores,
        );
        // 2.50 to 2.55
        accepts(
            "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;\
             version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            OpenMetrics100,
            Underscores,
        );
        accepts(
            &format!(
                "{PROTOBUF};q=0.5,application/openmetrics-text;version=1.0.0;q=0.4,\
                 application/openmetrics-text;version=0.0.1;q=0.3,text/plain;version=0.0.4;q=0.2,\
                 */*;q=0.1"
            ),
            ProtobufDelimited,
            Underscores,
        );
        // 3.0 to 3.3
        accepts(
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;escaping=allow-utf-8;q=0.5,\
             text/plain;version=1.0.0;escaping=allow-utf-8;escaping=allow-utf-8;q=0.4,\
             text/plain;version=0.0.4;escaping=allow-utf-8;q=0.3,*/*;q=0.2",
            OpenMetrics100,
            AllowUtf8,
        );
        // 3.4 to 3.14, with and without legacy names, and protobuf first
        for (word, escaping) in [("allow-utf-8", AllowUtf8), ("underscores", Underscores)] {
            accepts(
                &format!(
                    "application/openmetrics-text;version=1.0.0;escaping={word};q=0.6,\
                     application/openmetrics-text;version=0.0.1;q=0.5,\
                     text/plain;version=1.0.0;escaping={word};q=0.4,\
                     text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
                ),
                OpenMetrics100,
                escaping,
            );
        }
        accepts(
            &format!(
                "{PROTOBUF};q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;\
                 q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;\
                 escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
            ),
            ProtobufDelimited,
            Underscores,
        );
    }

    #[test]
    fn text_where_nothing_else_is_asked_for() {
        assert_eq!(accept(None), (Text004, Underscores));
        for header in [
            "",
            "*/*",
            "text/*",
            "text/plain",
            "text/plain;version=0.0.4",
            "text/plain;version=0.0.3",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "application/json",
            "application/openmetrics-text;version=2.0.0",
            "application/vnd.google.protobuf",
            "application/vnd.google.protobuf;encoding=delimited",
            "application/vnd.google.protobuf;proto=x.Y;encoding=delimited",
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=high",
            ",;,;q=1,",
        ] {
            accepts(header, Text004, Underscores);
        }
    }

    #[test]
    fn weights_order_the_clauses() {
        accepts("text/plain;q=0.5,application/openmetrics-text;q=0.6", OpenMetrics001, Underscores);
        accepts("text/plain;q=0.6,application/openmetrics-text;q=0.6", Text004, Underscores);
        accepts("text/plain;q=0.5,application/openmetrics-text", OpenMetrics001, Underscores);
        accepts("text/plain;q=0.5,application/openmetrics-text;q=7", OpenMetrics001, Underscores);
        accepts("text/plain;q=0.1,application/openmetrics-text;q=-1", Text004, Underscores);
        accepts("*/*,application/openmetrics-text;q=0.1", OpenMetrics001, Underscores);
        accepts("text/plain;version=1.0.0,text/plain;q=0.9", Text100, Underscores);
        accepts(
            "application/openmetrics-text;version=2.0.0,text/plain;version=1.0.0;q=0.1",
            Text100,
            Underscores,
        );
    }

    #[test]
    fn escaping_counts_from_any_clause_tried_so_far() {
        accepts("text/plain;escaping=dots", Text004, Dots);
        accepts("text/plain;version=1.0.0;escaping=values", Text100, Values);
        accepts("application/json;escaping=dots,text/plain;q=0.5", Text004, Dots);
        accepts("application/json;escaping=dots;q=0.1,text/plain;q=0.5", Text004, Underscores);
        accepts("application/json;escaping=dots,text/plain;escaping=values;q=0.5", Text004, Values);
        accepts("application/json;escaping=dots,text/plain;escaping=none;q=0.5", Text004, Dots);
        accepts("*/*;escaping=allow-utf-8", Text004, AllowUtf8);
        accepts("text/plain;escaping=dots;escaping=values", Text004, Values);
    }

    #[test]
    fn case_blanks_and_quotes() {
        accepts("Text/Plain ; Version=\"1.0.0\" ;\tESCAPING=\"dots\"", Text100, Dots);
        accepts(
            "application/json;a=\",text/plain;version=1.0.0\",text/plain",
            Text004,
            Underscores,
        );
        accepts("application/openmetrics-text; version=\"1.\\0.0\"", OpenMetrics100, Underscores);
        accepts(
            "application/vnd.google.protobuf; proto = \"io.prometheus.client.MetricFamily\"; \
             encoding = delimited",
            ProtobufDelimited,
            Underscores,
        );
    }

    #[test]
    fn content_types() {
        for (format, escaping, expected) in [
            (
                Text004,
                Underscores,
                "text/plain; version=0.0.4; charset=utf-8; escaping=underscores",
            ),
            (Text100, AllowUtf8, "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8"),
            (
                OpenMetrics100,
                Dots,
                "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=dots",
            ),
            (
                OpenMetrics001,
                Values,
                "application/openmetrics-text; version=0.0.1; charset=utf-8; escaping=values",
            ),
            (
                ProtobufDelimited,
                Underscores,
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
                 encoding=delimited; escaping=underscores",
            ),
        ] {
            assert_eq!(format.content_type(escaping), expected);
            // Whoever asks for a content type that we send gets it.
            assert_eq!(accept(Some(expected)), (format, escaping));
        }
    }

    #[test]
    fn pushes_that_are_text() {
        assert_eq!(push_format(None), Ok(PushFormat::Text));
        for header in [
            "",
            "text/plain",
            "text/plain;charset=UTF-8",
            "text/plain; version=0.0.4; charset=utf-8",
            "text/plain; version=1.0.0; escaping=allow-utf-8",
            "text/plain; version=9",
            "application/x-www-form-urlencoded",
            "application/json",
            "application/octet-stream",
            "garbage",
            ";;;",
            "text/html; charset=\"",
        ] {
            assert_eq!(push_format(Some(header)), Ok(PushFormat::Text), "{header}");
        }
    }

    #[test]
    fn pushes_that_are_not() {
        for header in [
            "application/vnd.google.protobuf",
            "application/vnd.google.protobuf; encoding=delimited",
            "Application/VND.google.protobuf; Encoding=\"Delimited\"; \
             proto=io.prometheus.client.MetricFamily",
            PROTOBUF,
        ] {
            assert_eq!(push_format(Some(header)), Ok(PushFormat::Protobuf), "{header}");
        }
        for header in [
            "application/openmetrics-text",
            "application/openmetrics-text; version=0.0.1; charset=utf-8",
            "application/OpenMetrics-Text; charset=utf-8; version=\"1.0.0\"",
            "application/openmetrics-text; version=1.0.0; escaping=allow-utf-8",
        ] {
            assert_eq!(push_format(Some(header)), Ok(PushFormat::OpenMetrics), "{header}");
        }
    }

    #[test]
    fn pushes_that_nothing_reads() {
        for header in [
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=text",
            "application/vnd.google.protobuf; encoding=compact-text",
            "application/vnd.google.protobuf; proto=prometheus.WriteRequest",
            "application/openmetrics-text; version=2.0.0",
            "application/openmetrics-protobuf; version=1.0.0",
        ] {
            let error = push_format(Some(header)).expect_err(header);
            assert_eq!(error, Unsupported::ContentType(header.to_owned()));
        }
    }

    #[test]
    fn accept_encodings() {
        use Compression::{Gzip, Identity, Zstd};
        assert_eq!(accept_encoding(None), Identity);
        for (header, expected) in [
            ("", Identity),
            ("gzip", Gzip),
            ("GZIP", Gzip),
            ("x-gzip", Gzip),
            ("identity", Identity),
            ("zstd", Zstd),
            ("gzip, deflate, br", Gzip),
            ("deflate, gzip, br, zstd", Zstd),
            ("zstd;q=0.5, gzip;q=0.6", Gzip),
            ("gzip;q=0", Identity),
            ("gzip;q=0.000", Identity),
            ("gzip;q=0, *", Identity),
            ("gzip;q=x", Identity),
            ("*", Gzip),
            ("*;q=0", Identity),
            ("identity;q=0", Identity),
            ("gzip;q=0.5, identity", Identity),
            ("gzip;q=0.5, identity;q=0.5", Gzip),
            ("gzip;q=0.5, identity;q=0.4", Gzip),
            ("br, deflate", Identity),
            (" gzip ;\tq=0.5 ,,", Gzip),
        ] {
            assert_eq!(accept_encoding(Some(header)), expected, "{header}");
        }
    }

    #[test]
    fn content_encodings() {
        use Coding::{Deflate, Gzip, Snappy, Zstd};
        assert_eq!(content_encoding(None), Ok(vec![]));
        for (header, expected) in [
            ("", vec![]),
            ("identity", vec![]),
            ("gzip", vec![Gzip]),
            ("X-GZip", vec![Gzip]),
            ("Snappy", vec![Snappy]),
            ("zstd", vec![Zstd]),
            ("deflate", vec![Deflate]),
            (" gzip , identity,\tzstd,", vec![Gzip, Zstd]),
        ] {
            assert_eq!(content_encoding(Some(header)), Ok(expected), "{header}");
        }
        for unknown in ["br", "compress", "gzip;q=1", "aws-chunked", "zip"] {
            let header = format!("gzip, {unknown}");
            let error = Unsupported::ContentEncoding(unknown.to_owned());
            assert_eq!(content_encoding(Some(&header)), Err(error));
        }
        let many = "gzip,gzip,gzip,gzip,gzip";
        assert_eq!(content_encoding(Some(many)), Err(Unsupported::TooManyCodings));
    }
}
