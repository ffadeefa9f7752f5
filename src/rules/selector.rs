//! Series selectors as Prometheus writes them: `name{a="b",c=~"x.*"}`.
//!
//! Used by rules and by `match[]` of the API. As in Prometheus, regular expressions match the whole
//! value, `.` matches a line break too, and a label that is missing counts as empty. The syntax of
//! expressions is that of the `regex` crate, which differs from RE2 in that it lacks `\Q..\E`, and that
//! `\d`, `\w` and `\s` include Unicode.
//!
//! For whole families, callers use [`Selector::matches_name`] once per family, and
//! [`Selector::matches_labels`] per series only if the result was [`NameMatch::ByLabels`].

use std::fmt;
use std::str::FromStr;

use regex::{Regex, RegexBuilder};

use super::parse;
use crate::model::labels;

/// The longest selector that is accepted.
pub const SELECTOR_BYTES_MAX: usize = 64 << 10;
/// The largest compiled size of a regular expression, and how many a selector may have, so that a query
/// cannot use up memory.
const REGEX_BYTES_MAX: usize = 1 << 20;
pub(super) const REGEXES_MAX: usize = 32;
/// How deep a regular expression may be nested, so that a query cannot use up the stack.
const REGEX_DEPTH_MAX: u32 = 100;

/// A compiled selector. Two are equal if they were written the same.
#[derive(Clone)]
pub struct Selector {
    text: Box<str>,
    /// Tests of the metric name, all of which must hold.
    name: Vec<Test>,
    /// Sorted by label, so that one pass over the label text, which is sorted as well, is enough.
    labels: Vec<Matcher>,
}

#[derive(Clone, Debug)]
pub(super) struct Matcher {
    pub(super) label: Box<str>,
    pub(super) test: Test,
}

#[derive(Clone, Debug)]
pub(super) enum Test {
    Equal(Box<str>),
    NotEqual(Box<str>),
    Matches(Regex),
    MatchesNot(Regex),
}

/// Which series of a family are selected, judging by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameMatch {
    /// No series of this name is selected.
    None,
    /// Every series of this name is selected.
    Every,
    /// The labels decide.
    ByLabels,
}

/// Why a text is not a selector, and where. The column counts characters from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {problem}")]
pub struct SelectorError {
    pub column: usize,
    pub problem: SelectorProblem,
}

/// See [`SelectorError`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorProblem {
    #[error("the selector is empty; write a metric name, or matchers like {{job=\"worker\"}}")]
    Empty,
    #[error("the selector has {0} bytes, more than the {SELECTOR_BYTES_MAX} that are read")]
    TooLong(usize),
    #[error("expected {expected}, found {found}")]
    Unexpected { expected: &'static str, found: String },
    #[error(
        "{0} stands after the selector; only a selector is read here, no range, offset or function"
    )]
    Trailing(String),
    #[error("a metric name in quotes stands inside the braces: write {{{0}}}")]
    QuotedOutside(String),
    #[error("the string is not closed; a line break inside needs \\n or backticks")]
    OpenString,
    #[error("{0} is not an escape; write \\\\ for a backslash, or put the string in backticks")]
    Escape(String),
    #[error("the escapes of this string do not make valid UTF-8")]
    NotUtf8,
    #[error("a name is empty")]
    EmptyName,
    #[error("the metric name is given twice: {0:?} and {1:?}")]
    TwoNames(String, String),
    #[error("there are more than {REGEXES_MAX} regular expressions")]
    TooManyRegexes,
    #[error("bad regular expression: {0}")]
    Regex(String),
    #[error(
        "at least one matcher must not match the empty value; \
         to select everything write {{__name__=~\".+\"}}"
    )]
    MatchesEmpty,
}

impl Selector {
    /// # Errors
    /// If `text` is not a selector, or one of its regular expressions is invalid or too large.
    pub fn parse(text: &str) -> Result<Selector, SelectorError> {
        let (name, mut labels) = parse::parse(text)?;
        labels.sort_by(|a, b| a.label.cmp(&b.label));
        Ok(Selector { text: text.into(), name, labels })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// `labels` is canonical label text, see [`labels`].
    pub fn matches(&self, name: &str, labels: &str) -> bool {
        match self.matches_name(name) {
            NameMatch::None => false,
            NameMatch::Every => true,
            NameMatch::ByLabels => self.matches_labels(labels),
        }
    }

    pub fn matches_name(&self, name: &str) -> NameMatch {
        if !self.name.iter().all(|test| test.holds(name)) {
            NameMatch::None
        } else if self.labels.is_empty() {
            NameMatch::Every
        } else {
            NameMatch::ByLabels
        }
    }

    /// Whether all matchers except those of the name hold for this canonical label text.
    pub fn matches_labels(&self, labels: &str) -> bool {
        let mut pairs = labels::raw_pairs(labels).peekable();
        self.labels.iter().all(|matcher| {
            while pairs.next_if(|pair| *pair.name < *matcher.label).is_some() {}
            match pairs.peek() {
                // Stay at this pair: the next matcher may be about the same label.
                Some(pair) if *pair.name == *matcher.label => {
                    matcher.test.holds(&labels::unescape(pair.value))
                }
                _ => matcher.test.holds(""),
            }
        })
    }

    /// The only name that can match, if there is one, for a direct look-up.
    pub fn exact_name(&self) -> Option<&str> {
        self.name.iter().find_map(|test| match test {
            Test::Equal(name) => Some(&**name),
            _ => None,
        })
    }

    /// Prometheus refuses `match[]` selectors that demand nothing, such as `{}` or `{a=~".*"}`, because
    /// they are probably mistakes. Rules may match everything.
    ///
    /// # Errors
    /// If every matcher matches the empty value.
    pub fn check_selective(&self) -> Result<(), SelectorError> {
        let mut tests = self.name.iter().chain(self.labels.iter().map(|matcher| &matcher.test));
        if tests.any(|test| !test.holds("")) {
            Ok(())
        } else {
            Err(SelectorError { column: 1, problem: SelectorProblem::MatchesEmpty })
        }
    }
}

// === impl Test ===

impl Test {
    fn holds(&self, value: &str) -> bool {
        match self {
            Test::Equal(wanted) => **wanted == *value,
            Test::NotEqual(unwanted) => **unwanted != *value,
            Test::Matches(regex) => regex.is_match(value),
            Test::MatchesNot(regex) => !regex.is_match(value),
        }
    }
}

/// Compiles `pattern` so that it matches only whole values.
pub(super) fn anchored(pattern: &str) -> Result<Regex, SelectorProblem> {
    // On its own first: messages then quote what was written, and `a)(b` is refused, which the added
    // parentheses would balance.
    limited(pattern).map_err(|error| SelectorProblem::Regex(reason(&error)))?;
    limited(&format!("^(?s:{pattern})$")).map_err(|error| SelectorProblem::Regex(reason(&error)))
}

fn limited(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern)
        .size_limit(REGEX_BYTES_MAX)
        .dfa_size_limit(REGEX_BYTES_MAX)
        .nest_limit(REGEX_DEPTH_MAX)
        .build()
}

/// The crate prints the expression over several lines; the last one says what is wrong.
fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => {
            "it needs too much memory; use fewer or smaller repetitions".to_owned()
        }
        other => {
            let text = other.to_string();
            let last = text.lines().next_back().unwrap_or_default();
            last.trim_start_matches("error: ").to_owned()
        }
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Selector, SelectorError> {
        Selector::parse(text)
    }
}

impl PartialEq for Selector {
    fn eq(&self, other: &Selector) -> bool {
        self.text == other.text
    }
}

impl Eq for Selector {}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Selector").field(&self.text).finish()
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn selector(text: &str) -> Selector {
        Selector::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn selected() {
        let name = "http_requests_total";
        let labels = r#"code="200",job="a\"b",path="/x\ny","x.y"="1""#;
        for text in [
            "http_requests_total",
            "http_requests_total{}",
            "{}",
            r#"{__name__="http_requests_total"}"#,
            r#"{"http_requests_total"}"#,
            r#"{__name__=~"http_.+",__name__!~".*_bytes",__name__!="up"}"#,
            r#"http_requests_total{code="200"}"#,
            r#"http_requests_total{code!="500"}"#,
            r#"http_requests_total{code=~"2.."}"#,
            r#"http_requests_total{code=~"2..",code!~"201|202",code=~".+"}"#,
            r#"{code=~"200|500"}"#,
            r#"{code=~"2|200"}"#,
            r#"{code!~"20"}"#,
            r#"{code!~"00"}"#,
            r#"{job="a\"b"}"#,
            r#"{job='a"b'}"#,
            r#"{job=`a"b`}"#,
            r#"{path="/x\ny"}"#,
            r#"{path=~"/x.y"}"#,
            r#"{"x.y"="1"}"#,
            r#"{missing=""}"#,
            r#"{missing=~".*"}"#,
            r#"{missing!="x"}"#,
            r#"{missing!~".+"}"#,
            r#"{zz="",aa="",code="200"}"#,
            r#"{"x.y"=~"[0-9]",path!="",job!=""}"#,
        ] {
            assert!(selector(text).matches(name, labels), "{text}");
        }
    }

    #[test]
    fn not_selected() {
        let name = "http_requests_total";
        let labels = r#"code="200",job="a\"b""#;
        for text in [
            "http_requests",
            r#"{__name__=~"http_"}"#,
            r#"{__name__!~"http_.*"}"#,
            r#"{code="20"}"#,
            r#"{code=~"20"}"#,
            r#"{code=~"00"}"#,
            r#"{code=~"20|30"}"#,
            r#"{code="200",code!="200"}"#,
            r#"{job="a\\\"b"}"#,
            r#"{missing!=""}"#,
            r#"{missing=~".+"}"#,
            r#"{code="200",missing="x"}"#,
            r#"{code="200",aa!=""}"#,
            r#"http_requests_total{code="500"}"#,
        ] {
            assert!(!selector(text).matches(name, labels), "{text}");
        }
    }

    #[test]
    fn a_series_without_labels() {
        assert!(selector(r#"up{job=""}"#).matches("up", ""));
        assert!(!selector(r#"up{job!=""}"#).matches("up", ""));
    }

    #[test]
    fn the_name_decides_first() {
        let by_labels = selector(r#"{__name__=~"queue_.*",job="worker"}"#);
        assert_eq!(by_labels.matches_name("queue_depth"), NameMatch::ByLabels);
        assert_eq!(by_labels.matches_name("depth"), NameMatch::None);
        assert_eq!(selector("up").matches_name("up"), NameMatch::Every);
        assert_eq!(selector("up").exact_name(), Some("up"));
        assert_eq!(by_labels.exact_name(), None);
    }

    #[test]
    fn selective_enough_for_a_query() {
        for text in ["up", r#"{job="x"}"#, r#"{job!="",a=""}"#, r#"{__name__=~".+"}"#] {
            assert_eq!(selector(text).check_selective(), Ok(()), "{text}");
        }
        for text in ["{}", r#"{a=~".*"}"#, r#"{a=""}"#, r#"{a!="x",b!~"y"}"#] {
            let error = selector(text).check_selective().unwrap_err();
            assert_eq!(error.problem, SelectorProblem::MatchesEmpty, "{text}");
        }
    }

    #[test]
    fn regular_expressions_are_bounded() {
        for pattern in [r"\pL{2000}", "(?:a{1000}){1000}", &"(".repeat(500), &"(?:a".repeat(200)] {
            let text = format!("{{a=~`{pattern}`}}");
            let error = Selector::parse(&text).unwrap_err();
            assert!(matches!(error.problem, SelectorProblem::Regex(_)), "{error}");
        }
    }

    #[test]
    fn an_expression_cannot_escape_its_anchors() {
        for pattern in ["a)(b", "a)|(b", "a(?m", "a|b"] {
            let matched = Selector::parse(&format!("{{a=~`{pattern}`}}"))
                .is_ok_and(|selector| selector.matches("x", r#"a="xb""#));
            assert!(!matched, "{pattern}");
        }
        assert!(!selector("{a=~`(?m)b`}").matches("x", r#"a="b\nc""#));
    }
}
