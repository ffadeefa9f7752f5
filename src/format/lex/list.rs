//! The name and labels of a sample, and shortcuts for consecutive samples that share them.
//!
//! ```text
//! head  = name [ "{" list "}" ] | "{" list "}"     the name stands before or in the braces
//! list  = [ item { "," item } [ "," ] ]            the last comma: text only
//! item  = label "=" string | string                a string alone is the metric name
//! label = labelname | string
//! ```
//!
//! Text allows blanks (space and tab) around every token, OpenMetrics does not. Text needs none between
//! name, braces and value either, so `a{b="c"}1` and `a-1` are samples.

use std::borrow::Cow;

use super::{Cursor, Dialect, Escapes, Flaw, Lexed, Line, Token, quote_or_backslash};
use crate::model::Label;
use crate::model::name::LABEL_NAME;

/// The labels of one line, in buffers that are reused for every line.
#[derive(Debug, Default)]
pub(in crate::format) struct LabelList<'a> {
    pub(in crate::format) labels: Vec<Label<'a>>,
    places: Vec<LabelPlace>,
}

/// The position of a label in its line, so that lines can be compared as text.
#[derive(Clone, Copy, Debug)]
struct LabelPlace {
    name: usize,
    /// The first byte of the value, after the quote.
    value: usize,
    /// The closing quote.
    close: usize,
}

impl<'a> LabelList<'a> {
    pub(in crate::format) fn has(&self, name: &str) -> bool {
        self.labels.iter().any(|label| label.name == name)
    }

    /// Takes the label with this name out of the list: one that does not belong to the identity of the
    /// series, but distinguishes its samples (`le`, `quantile`, the state).
    pub(in crate::format) fn take(&mut self, name: &str) -> Option<Taken> {
        let at = self.labels.iter().position(|label| label.name == name)?;
        self.labels.remove(at);
        Some(Taken(self.places.remove(at)))
    }

    pub(in crate::format) fn clear(&mut self) {
        self.labels.clear();
        self.places.clear();
    }

    #[inline(always)]
    fn push(&mut self, label: Label<'a>, place: LabelPlace) {
        self.labels.push(label);
        self.places.push(place);
    }
}

/// See [`LabelList::take`].
#[derive(Clone, Copy, Debug)]
pub(in crate::format) struct Taken(LabelPlace);

/// The name of a sample, and the position of its labels.
#[derive(Debug)]
pub(in crate::format) struct Head<'a> {
    pub(in crate::format) name: Cow<'a, str>,
    /// Offset of the first token in the body.
    pub(in crate::format) offset: usize,
    line: &'a str,
    /// What is between the braces; empty if there are none.
    inside: std::ops::Range<usize>,
}

impl<'a> Head<'a> {
    /// The labels as text, without one of them. Lines of one family with equal keys have equal labels;
    /// the converse need not hold.
    pub(in crate::format) fn key(&self, without: Option<Taken>) -> Key<'a> {
        let separators = [' ', '\t', ','];
        let (before, after) = match without {
            None => (&self.line[self.inside.clone()], ""),
            Some(Taken(place)) => (
                &self.line[self.inside.start..place.name],
                &self.line[place.close + 1..self.inside.end],
            ),
        };
        let before = before.trim_end_matches(separators);
        let after = after.trim_matches(separators);
        if before.is_empty() { Key(after, "") } else { Key(before, after) }
    }

    /// The value of a label as it is written, to be read as a number. (A number contains no escapes.)
    pub(in crate::format) fn token(&self, cursor: &Cursor<'a>, label: Taken) -> Token<'a> {
        let Taken(place) = label;
        Token { text: &self.line[place.value..place.close], offset: cursor.start + place.value }
    }

    /// For lines to come that equal this one except for `varying`.
    pub(in crate::format) fn repeat(&self, varying: Taken) -> Repeat<'a> {
        let Taken(place) = varying;
        Repeat {
            before: &self.line[..place.value],
            after: &self.line[place.close..=self.inside.end],
        }
    }
}

/// See [`Head::key`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::format) struct Key<'a>(&'a str, &'a str);

/// The name and labels of a line as text, except for the value of one label. A histogram is ten such
/// lines. Two comparisons show that the next line is one of them, and what is the same need not be read
/// again.
#[derive(Clone, Copy, Debug)]
pub(in crate::format) struct Repeat<'a> {
    /// Up to and including the quote that opens the value.
    before: &'a str,
    /// From the quote that closes it to the closing brace.
    after: &'a str,
}

impl<'a> Repeat<'a> {
    /// If `line` is another one: its varying value, and a cursor after the brace.
    #[inline]
    pub(in crate::format) fn find(&self, line: &Line<'a>) -> Option<(Token<'a>, Cursor<'a>)> {
        let rest = line.text.strip_prefix(self.before)?;
        let (end, _) = quote_or_backslash(rest.as_bytes(), 0)?;
        let text = &rest[..end];
        rest[end..].strip_prefix(self.after)?;
        let value = self.before.len();
        let at = value + end + self.after.len();
        let token = Token { text, offset: line.start + value };
        Some((token, Cursor { line: line.text, start: line.start, at }))
    }
}

impl<'a> Cursor<'a> {
    /// Reads the name and the labels; the cursor is then right after them. For `likely` see
    /// [`Cursor::metric_name`].
    #[inline]
    pub(in crate::format) fn head(
        &mut self,
        dialect: Dialect,
        likely: &str,
        list: &mut LabelList<'a>,
    ) -> Lexed<Head<'a>> {
        list.clear();
        let offset = self.offset();
        let before = self.metric_name(likely);
        self.skip_blanks_of(dialect);
        if !self.eat(b'{') {
            if before.is_empty() {
                return Err(self.no_name());
            }
            return Ok(Head { name: Cow::Borrowed(before), offset, line: self.line, inside: 0..0 });
        }
        let start = self.at;
        let inside = self.list(dialect, list)?;
        let name = match (before.is_empty(), inside) {
            (false, None) => Cow::Borrowed(before),
            (true, Some(name)) => name,
            (true, None) => {
                return Err(Flaw::new(offset, "the metric name is missing"));
            }
            (false, Some(_)) => {
                return Err(Flaw::new(
                    offset,
                    "two metric names: one before and one in the braces",
                ));
            }
        };
        Ok(Head { name, offset, line: self.line, inside: start..self.at - 1 })
    }

    /// Reads what follows the opening brace, up to and including the closing one. Returns the metric
    /// name, if it is in there.
    #[inline(always)]
    pub(in crate::format) fn list(
        &mut self,
        dialect: Dialect,
        list: &mut LabelList<'a>,
    ) -> Lexed<Option<Cow<'a, str>>> {
        let mut metric_name = None;
        let mut may_end = true;
        loop {
            self.skip_blanks_of(dialect);
            if may_end && self.eat(b'}') {
                return Ok(metric_name);
            }
            if !self.plain_label(list) {
                self.item(dialect, list, &mut metric_name)?;
            }
            self.skip_blanks_of(dialect);
            if self.eat(b'}') {
                return Ok(metric_name);
            }
            if !self.eat(b',') {
                return Err(self.expected("\",\" or \"}\" after a label"));
            }
            may_end = dialect == Dialect::Text;
        }
    }

    /// Reads a label of the common form, `name="value"` without blanks, a quoted name or escapes. Reads
    /// nothing if it has another form.
    #[inline(always)]
    fn plain_label(&mut self, list: &mut LabelList<'a>) -> bool {
        let start = self.at;
        let bytes = self.line.as_bytes();
        let name = self.name(LABEL_NAME);
        let value = self.at + 2;
        if !name.is_empty()
            && bytes.get(self.at..value) == Some(b"=\"")
            && let Some((close, b'"')) = quote_or_backslash(bytes, value)
        {
            let (text, line) = (&self.line[value..close], self.line);
            let label = Label::canonical(name, text, &line[start..=close]);
            list.push(label, LabelPlace { name: start, value, close });
            self.at = close + 1;
            return true;
        }
        self.at = start;
        false
    }

    /// A label or the metric name.
    #[cold]
    fn item(
        &mut self,
        dialect: Dialect,
        list: &mut LabelList<'a>,
        metric_name: &mut Option<Cow<'a, str>>,
    ) -> Lexed<()> {
        let (start, offset) = (self.at, self.offset());
        let name = if self.eat(b'"') {
            let quoted = self.quoted(dialect)?;
            self.skip_blanks_of(dialect);
            if matches!(self.peek(), Some(b',' | b'}')) {
                if quoted.text.is_empty() {
                    return Err(Flaw::new(offset, "the metric name is empty"));
                }
                if metric_name.replace(quoted.unescaped()).is_some() {
                    return Err(Flaw::new(offset, "two metric names in the braces"));
                }
                return Ok(());
            }
            quoted.unescaped()
        } else {
            let name = self.name(LABEL_NAME);
            if name.is_empty() {
                return Err(self.expected("a label name"));
            }
            self.skip_blanks_of(dialect);
            Cow::Borrowed(name)
        };
        if !self.eat(b'=') {
            return Err(self.no_equals_sign());
        }
        self.skip_blanks_of(dialect);
        if !self.eat(b'"') {
            return Err(self.expected("a label value in double quotes"));
        }
        let value = self.at;
        let quoted = self.quoted(dialect)?;
        let label = match quoted.escapes {
            Escapes::None | Escapes::Canonical => Label::escaped(name, quoted.text),
            Escapes::Odd => Label::raw(name, quoted.unescaped()),
        };
        list.push(label, LabelPlace { name: start, value, close: self.at - 1 });
        Ok(())
    }

    #[inline(always)]
    fn skip_blanks_of(&mut self, dialect: Dialect) {
        if dialect == Dialect::Text {
            self.skip_blanks();
        }
    }

    #[cold]
    fn no_name(&self) -> Flaw {
        if self.offset() == 0 && self.line.starts_with('\u{feff}') {
            return Flaw::new(0, "the body starts with a byte order mark: send it without");
        }
        let hint = match self.peek() {
            Some(byte) if !byte.is_ascii() => {
                " (other names than [a-zA-Z_:][a-zA-Z0-9_:]* are written {\"name\",…})"
            }
            _ => "",
        };
        self.expected(&format!("a metric name{hint}"))
    }

    #[cold]
    fn no_equals_sign(&self) -> Flaw {
        self.expected(match self.peek() {
            Some(b':' | b'.' | b'-') => {
                "\"=\" (a label name with other characters than [a-zA-Z0-9_] must be quoted)"
            }
            _ => "\"=\" after the label name",
        })
    }
}
