//! Parses a selector, by Prometheus' grammar for vector selectors.

use super::selector::{
    Matcher, REGEXES_MAX, SELECTOR_BYTES_MAX, SelectorError, SelectorProblem, Test, anchored,
};

const NAME: &str = "__name__";

/// Returns the tests of the name, and the matchers of labels in the order they were written.
pub(super) fn parse(text: &str) -> Result<(Vec<Test>, Vec<Matcher>), SelectorError> {
    if text.len() > SELECTOR_BYTES_MAX {
        return Err(SelectorError { column: 1, problem: SelectorProblem::TooLong(text.len()) });
    }
    let mut cursor = Cursor { text, at: 0 };
    let mut parsed = Parsed::default();
    cursor.skip_space();
    if cursor.peek().is_none() {
        return Err(cursor.error(SelectorProblem::Empty));
    }
    let outside = cursor.name(true);
    if let Some(name) = outside {
        parsed.add_name(name).map_err(|problem| cursor.error_at(0, problem))?;
        cursor.skip_space();
    }
    if cursor.eat('{') {
        cursor.matchers(&mut parsed, outside)?;
    } else if outside.is_none() {
        return Err(cursor.no_selector());
    }
    cursor.skip_space();
    if cursor.peek().is_some() {
        return Err(cursor.error(SelectorProblem::Trailing(cursor.found())));
    }
    Ok((parsed.name, parsed.labels))
}

#[derive(Default)]
struct Parsed {
    name: Vec<Test>,
    labels: Vec<Matcher>,
    exact: Option<String>,
    regexes: usize,
}

impl Parsed {
    fn add_name(&mut self, name: &str) -> Result<(), SelectorProblem> {
        if let Some(other) = self.exact.replace(name.to_owned()) {
            return Err(SelectorProblem::TwoNames(other, name.to_owned()));
        }
        self.name.push(Test::Equal(name.into()));
        Ok(())
    }
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Operator {
    Equal,
    NotEqual,
    Matches,
    MatchesNot,
}

impl<'a> Cursor<'a> {
    /// Reads from after the opening brace to after the closing one.
    fn matchers(
        &mut self,
        parsed: &mut Parsed,
        outside: Option<&str>,
    ) -> Result<(), SelectorError> {
        self.skip_space();
        while !self.eat('}') {
            self.matcher(parsed, outside)?;
            self.skip_space();
            if self.eat(',') {
                self.skip_space();
            } else if self.peek() != Some('}') {
                return Err(self.unexpected("a comma or the closing brace"));
            }
        }
        Ok(())
    }

    fn matcher(&mut self, parsed: &mut Parsed, outside: Option<&str>) -> Result<(), SelectorError> {
        let start = self.at;
        let (label, quoted) = match self.name(false) {
            Some(name) => (name.to_owned(), false),
            None => match self.string()? {
                Some(name) => (name, true),
                None => return Err(self.unexpected("a label name")),
            },
        };
        if label.is_empty() {
            return Err(self.error_at(start, SelectorProblem::EmptyName));
        }
        self.skip_space();
        let Some(operator) = self.operator() else {
            if quoted && matches!(self.peek(), Some(',' | '}')) {
                return parsed.add_name(&label).map_err(|problem| self.error_at(start, problem));
            }
            return Err(self.unexpected("one of = != =~ !~"));
        };
        self.skip_space();
        let value_start = self.at;
        let Some(value) = self.string()? else {
            return Err(self.unexpected("a value in quotes"));
        };
        if label == NAME {
            if let Some(name) = outside {
                let problem = SelectorProblem::TwoNames(name.to_owned(), value);
                return Err(self.error_at(start, problem));
            }
            if operator == Operator::Equal {
                return parsed.add_name(&value).map_err(|problem| self.error_at(start, problem));
            }
        }
        if matches!(operator, Operator::Matches | Operator::MatchesNot) {
            parsed.regexes += 1;
            if parsed.regexes > REGEXES_MAX {
                return Err(self.error_at(start, SelectorProblem::TooManyRegexes));
            }
        }
        let test = operator.test(value).map_err(|problem| self.error_at(value_start, problem))?;
        if label == NAME {
            parsed.name.push(test);
        } else {
            parsed.labels.push(Matcher { label: label.into(), test });
        }
        Ok(())
    }

    fn operator(&mut self) -> Option<Operator> {
        let rest = self.rest();
        // Longer operators first.
        let (operator, length) = match rest.get(..2) {
            Some("!=") => (Operator::NotEqual, 2),
            Some("=~") => (Operator::Matches, 2),
            Some("!~") => (Operator::MatchesNot, 2),
            _ if rest.starts_with('=') => (Operator::Equal, 1),
            _ => return None,
        };
        self.at += length;
        Some(operator)
    }

    /// A name without quotes; `colon` says whether it may contain colons, as metric names may.
    fn name(&mut self, colon: bool) -> Option<&'a str> {
        let rest = self.rest();
        let inside = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colon && c == ':');
        let length = rest.find(|c| !inside(c)).unwrap_or(rest.len());
        if length == 0 || rest.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        self.at += length;
        Some(&rest[..length])
    }

    /// A string in one of the three kinds of quotes; `None` if there is none.
    fn string(&mut self) -> Result<Option<String>, SelectorError> {
        let start = self.at;
        let Some(quote @ ('"' | '\'' | '`')) = self.peek() else {
            return Ok(None);
        };
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            let open = || self.error_at(start, SelectorProblem::OpenString);
            match self.peek().ok_or_else(open)? {
                c if c == quote => break,
                '\n' if quote != '`' => return Err(open()),
                '\\' if quote != '`' => self.escape(quote, start, &mut bytes)?,
                c => {
                    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    self.at += c.len_utf8();
                }
            }
        }
        self.at += 1;
        // `\xNN` and octal escapes stand for single bytes.
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(self.error_at(start, SelectorProblem::NotUtf8)),
        }
    }

    /// One escape of a Go string, which PromQL has adopted.
    fn escape(
        &mut self,
        quote: char,
        string_start: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), SelectorError> {
        let start = self.at;
        let mut rest = self.rest()[1..].chars();
        let Some(kind) = rest.next() else {
            return Err(self.error_at(string_start, SelectorProblem::OpenString));
        };
        let simple = match kind {
            'a' => Some(7),
            'b' => Some(8),
            'f' => Some(12),
            'n' => Some(b'\n'),
            'r' => Some(b'\r'),
            't' => Some(b'\t'),
            'v' => Some(11),
            '\\' => Some(b'\\'),
            c if c == quote => Some(quote as u8),
            _ => None,
        };
        if let Some(byte) = simple {
            self.at += 2;
            out.push(byte);
            return Ok(());
        }
        // (characters before the digits, digits, radix)
        let (skip, count, radix) = match kind {
            'x' => (2, 2, 16),
            'u' => (2, 4, 16),
            'U' => (2, 8, 16),
            '0'..='7' => (1, 3, 8),
            _ => return Err(self.bad_escape(start, 2)),
        };
        let digits = self.text.get(start + skip..start + skip + count);
        let code = digits
            .filter(|digits| digits.bytes().all(|b| (b as char).is_digit(radix)))
            .and_then(|digits| u32::from_str_radix(digits, radix).ok())
            .ok_or_else(|| self.bad_escape(start, skip + count))?;
        match kind {
            'u' | 'U' => {
                let c = char::from_u32(code);
                let c = c.ok_or_else(|| self.bad_escape(start, skip + count))?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            _ => {
                let byte = u8::try_from(code);
                out.push(byte.map_err(|_| self.bad_escape(start, skip + count))?);
            }
        }
        self.at += skip + count;
        Ok(())
    }

    fn bad_escape(&self, start: usize, length: usize) -> SelectorError {
        let shown = self.text[start..].chars().take(length).collect();
        self.error_at(start, SelectorProblem::Escape(shown))
    }

    /// The error for a text that begins with neither a name nor a brace.
    fn no_selector(&mut self) -> SelectorError {
        let start = self.at;
        match self.string() {
            Ok(Some(_)) => {
                let quoted = self.text[start..self.at].to_owned();
                self.error_at(start, SelectorProblem::QuotedOutside(quoted))
            }
            Ok(None) => self.unexpected("a metric name or an opening brace"),
            Err(error) => error,
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    /// What is at the cursor, for a message.
    fn found(&self) -> String {
        let rest = self.rest();
        match rest.chars().next() {
            None => "the end".to_owned(),
            Some(c) if c.is_ascii_alphanumeric() || c == '_' => {
                let word: String = rest
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .take(20)
                    .collect();
                format!("{word:?}")
            }
            Some(c) => format!("{c:?}"),
        }
    }

    fn unexpected(&self, expected: &'static str) -> SelectorError {
        self.error(SelectorProblem::Unexpected { expected, found: self.found() })
    }

    fn error(&self, problem: SelectorProblem) -> SelectorError {
        self.error_at(self.at, problem)
    }

    fn error_at(&self, at: usize, problem: SelectorProblem) -> SelectorError {
        SelectorError { column: self.text[..at].chars().count() + 1, problem }
    }
}

impl Operator {
    fn test(self, value: String) -> Result<Test, SelectorProblem> {
        Ok(match self {
            Operator::Equal => Test::Equal(value.into()),
            Operator::NotEqual => Test::NotEqual(value.into()),
            Operator::Matches => Test::Matches(anchored(&value)?),
            Operator::MatchesNot => Test::MatchesNot(anchored(&value)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::Selector;

    #[test]
    fn accepted() {
        for text in [
            "a",
            " a ",
            ":a:b",
            "a{}",
            "a {}",
            "a\n{\n}\n",
            "{}",
            "{ }",
            r#"a{b="c"}"#,
            r#"a{b="c",}"#,
            r#"a { b = "c" , d != "e" }"#,
            r#"a{b=~"c",d!~"e",f!="g"}"#,
            r#"a{b='c'}"#,
            "a{b=`c`}",
            "a{b=`c\nd\\`}",
            r#"{"a"}"#,
            r#"{"a",}"#,
            r#"{"my.name",b="c"}"#,
            r#"{b="c","my.name"}"#,
            r#"a{"b.c"="d"}"#,
            r#"a{'b.c'='d'}"#,
            r#"{__name__="a",__name__!="b"}"#,
            r#"{"__name__"="a"}"#,
            r#"{b="c",b="d"}"#,
            r#"{b=""}"#,
            r#"{b="ü\u00fc\x41\101\U0001F600\"\\\a\b\f\n\r\t\v"}"#,
            r#"{b='\''}"#,
            r#"{b="\xc3\xbc"}"#,
            r#"{b="}",c="{,="}"#,
            "sum",
            "on{by='x'}",
        ] {
            if let Err(error) = Selector::parse(text) {
                panic!("{text}: {error}");
            }
        }
    }

    #[test]
    fn escapes_are_taken_back() {
        let selector = Selector::parse(r#"{a="\xc3\xbc\101\u00df\t\"'"}"#).unwrap();
        assert!(selector.matches("x", "a=\"üAß\t\\\"'\""));
        let selector = Selector::parse(r"{a=`\n`}").unwrap();
        assert!(selector.matches("x", r#"a="\\n""#));
        assert!(!selector.matches("x", r#"a="\n""#));
    }

    #[test]
    fn refused() {
        for (text, message) in [
            ("", "column 1: the selector is empty"),
            ("  ", "column 3: the selector is empty"),
            ("9a", r#"column 1: expected a metric name or an opening brace, found "9a""#),
            ("ü", "column 1: expected a metric name or an opening brace, found 'ü'"),
            ("a.b", r#"column 2: '.' stands after the selector"#),
            (
                r#""a""#,
                r#"column 1: a metric name in quotes stands inside the braces: write {"a"}"#,
            ),
            ("a{", "column 3: expected a label name, found the end"),
            ("a}", "column 2: '}' stands after"),
            ("a{,}", "column 3: expected a label name, found ','"),
            (r#"a{b="c",,}"#, "column 9: expected a label name, found ','"),
            (r#"a{b="c" d="e"}"#, r#"column 9: expected a comma or the closing brace, found "d""#),
            ("a{b}", "column 4: expected one of = != =~ !~, found '}'"),
            (r#"a{b=="c"}"#, "column 5: expected a value in quotes, found '='"),
            (r#"a{b~"c"}"#, "column 4: expected one of"),
            ("a{b=c}", r#"column 5: expected a value in quotes, found "c""#),
            ("a{b=5}", r#"column 5: expected a value in quotes, found "5""#),
            (r#"a{b:c="d"}"#, "column 4: expected one of"),
            (r#"a{9="d"}"#, r#"column 3: expected a label name, found "9""#),
            (r#"a{b="c}"#, "column 5: the string is not closed"),
            ("a{b=\"c\nd\"}", "column 5: the string is not closed"),
            (r#"a{b="c\"#, "column 5: the string is not closed"),
            (r#"a{b="ü\.c"}"#, r"column 7: \. is not an escape"),
            (r#"a{b="\'"}"#, r"column 6: \' is not an escape"),
            (r#"a{b="\x4"}"#, r#"column 6: \x4" is not an escape"#),
            (r#"a{b="\x+4"}"#, r"column 6: \x+4 is not an escape"),
            (r#"a{b="\400"}"#, r"column 6: \400 is not an escape"),
            (r#"a{b="\ud800"}"#, r"column 6: \ud800 is not an escape"),
            (r#"a{b="\xff"}"#, "column 5: the escapes of this string do not make valid UTF-8"),
            (r#"a{""="c"}"#, "column 3: a name is empty"),
            (r#"{""}"#, "column 2: a name is empty"),
            (r#"a{"b"}"#, r#"column 3: the metric name is given twice: "a" and "b""#),
            (r#"{"a","b"}"#, r#"column 6: the metric name is given twice: "a" and "b""#),
            (r#"{"a",__name__="b"}"#, r#"column 6: the metric name is given twice"#),
            (r#"a{__name__=~"b"}"#, r#"column 3: the metric name is given twice: "a" and "b""#),
            (r#"a{b=~"("}"#, "column 6: bad regular expression: unclosed group"),
            (r#"a{b=~"*"}"#, "column 6: bad regular expression: repetition operator"),
            ("a[5m]", "column 2: '[' stands after the selector; only a selector is read here"),
            ("a offset 5m", r#"column 3: "offset" stands after"#),
            ("sum(a)", "column 4: '(' stands after"),
            ("a == 1", "column 3: '=' stands after"),
        ] {
            match Selector::parse(text) {
                Ok(_) => panic!("accepted: {text}"),
                Err(error) => {
                    let error = error.to_string();
                    assert!(error.starts_with(message), "{text}\n{error}\n{message}");
                }
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(
            text in r#"[a{}=!~,"'`\\x0u. 8é\n|*()\[\]]{0,24}"#,
            inside in r#"[a=!~,"\\x0u8é]{0,12}"#,
        ) {
            for text in [text, format!("{{a=\"{inside}\"}}"), format!("{{{inside}}}")] {
                match Selector::parse(&text) {
                    Ok(selector) => _ = selector.matches("a", r#"a="x""#),
                    Err(error) => proptest::prop_assert!(error.column <= text.chars().count() + 1),
                }
            }
        }
    }

    #[test]
    fn too_long() {
        let text = format!("{{a=\"{}\"}}", "x".repeat(super::SELECTOR_BYTES_MAX));
        assert!(Selector::parse(&text).unwrap_err().to_string().contains("more than the 65536"));
        let text = format!("{{{}}}", "a=~'x',".repeat(super::REGEXES_MAX + 1));
        assert!(Selector::parse(&text).unwrap_err().to_string().contains("more than 32 regular"));
    }
}
