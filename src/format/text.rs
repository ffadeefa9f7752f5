//! Reading text 0.0.4 and 1.0.0 (formats 3 and 4; they differ only in quoted names).
//!
//! ```text
//! body   = { line LF } [ blanks ]               blank = space or tab
//! line   = blanks [ "#" comment | sample ]
//! sample = head blanks value [ blanks timestamp ] blanks        head: see `lex::list`
//! ```
//!
//! Of the comments, `HELP name text` and `TYPE name type` mean something. The lines of a family may
//! stand anywhere. A name belongs to the family of exactly this name if the body has one so far;
//! else, less `_sum`, `_count` or `_bucket`, to a summary or histogram so far; else it begins an
//! untyped family.

use std::borrow::Cow;

use super::lex::{
    At, Cursor, Dialect, Excerpt, Flaw, Head, Key, LabelList, Lexed, Line, Lines, Repeat, Token,
};
use super::number::{parse_count, parse_float, parse_millis};
use super::{ParseError, Timestamps, lex};
use crate::model::exposition::Bucket;
use crate::model::{Builder, FamilyId, Kind, Number, SeriesId};

/// How strictly text is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextOptions {
    /// Accepts CR LF at the end of a line, and a last line without LF, as clients on other systems
    /// and shell scripts write them (clients R9). The Pushgateway refuses both (formats 3).
    ///
    /// There is a risk in it: a body that was cut off inside its last number still reads well, with
    /// another number. HTTP itself tells a body cut in transit (by length or last chunk), so this
    /// concerns bodies that were cut before they were sent.
    pub lenient_line_ends: bool,
    pub timestamps: Timestamps,
}

/// Reads a whole body.
///
/// # Errors
/// For the first thing that is not as the grammar or formats 3 and 4 demand. The exposition must
/// then not be used.
pub fn parse(body: &[u8], builder: Builder<'_>, options: TextOptions) -> Result<(), ParseError> {
    let text = lex::utf8(body)?;
    let mut reader = Reader::new(builder, options);
    reader.read(text).map_err(|flaw| flaw.locate(text))?;
    Ok(reader.builder.finish()?)
}

/// Reads tokens only, and counts samples: the part of [`parse`] that benchmarks want to see alone.
///
/// # Errors
/// For malformed sample lines.
#[doc(hidden)]
pub fn scan(body: &[u8], options: TextOptions) -> Result<usize, ParseError> {
    fn read(text: &str, options: TextOptions) -> Lexed<usize> {
        let mut samples = 0;
        let mut list = LabelList::default();
        for line in Lines::new(text) {
            let Some(line) = options.without_line_end(line)? else { break };
            let mut cursor = Cursor::new(&line);
            cursor.skip_blanks();
            if !matches!(cursor.peek(), None | Some(b'#')) {
                cursor.head(Dialect::Text, "", &mut list)?;
                float(value(&mut cursor)?)?;
                end_of_sample(&mut cursor, options)?;
                samples += 1;
            }
        }
        Ok(samples)
    }
    let text = lex::utf8(body)?;
    read(text, options).map_err(|flaw| flaw.locate(text))
}

impl TextOptions {
    /// The line as it is to be read; `None` for blanks behind the last line feed.
    #[inline]
    fn without_line_end<'a>(self, line: Line<'a>) -> Lexed<Option<Line<'a>>> {
        if self.lenient_line_ends {
            let text = line.text.strip_suffix('\r').unwrap_or(line.text);
            Ok(Some(Line { text, ..line }))
        } else if line.ended {
            Ok(Some(line))
        } else if line.text.bytes().all(|byte| matches!(byte, b' ' | b'\t')) {
            Ok(None)
        } else {
            let end = line.start + line.text.len();
            Err(Flaw::new(end, "the last line does not end with a line feed: is the body cut off?"))
        }
    }
}

/// What a sample name says of its sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// The value of the series itself.
    Value,
    Quantile,
    Bucket,
    Sum,
    Count,
}

/// The family that was named last, so that most lines need no look-up.
#[derive(Debug)]
struct Current<'a> {
    family: FamilyId,
    name: Cow<'a, str>,
    kind: Kind,
}

/// A sample name that was resolved.
#[derive(Debug)]
struct Resolved<'a> {
    name: Cow<'a, str>,
    family: FamilyId,
    role: Role,
}

/// The last series of a histogram or summary.
#[derive(Debug)]
struct LastSeries<'a> {
    family: FamilyId,
    key: Key<'a>,
    id: SeriesId,
}

/// Samples that repeat the one before but for bound or quantile, and the value.
#[derive(Debug)]
struct LastMember<'a> {
    line: Repeat<'a>,
    role: Role,
    id: SeriesId,
}

struct Reader<'a, 'e> {
    builder: Builder<'e>,
    options: TextOptions,
    list: LabelList<'a>,
    /// The name that metadata named last, without quotes: many lines to come begin with it.
    likely: &'a str,
    current: Option<Current<'a>>,
    last_name: Option<Resolved<'a>>,
    last_series: Option<LastSeries<'a>>,
    last_member: Option<LastMember<'a>>,
    /// Some family bears a name that ends like the samples of histograms and summaries, so that
    /// `x_sum` beside a histogram `x` may be a family of its own.
    suffixed_families: bool,
}

impl<'a, 'e> Reader<'a, 'e> {
    fn new(builder: Builder<'e>, options: TextOptions) -> Reader<'a, 'e> {
        Reader {
            builder,
            options,
            list: LabelList::default(),
            likely: "",
            current: None,
            last_name: None,
            last_series: None,
            last_member: None,
            suffixed_families: false,
        }
    }

    fn read(&mut self, body: &'a str) -> Lexed<()> {
        for line in Lines::new(body) {
            let Some(line) = self.options.without_line_end(line)? else { break };
            if let Some(member) = &self.last_member
                && let Some((varying, mut cursor)) = member.line.find(&line)
            {
                let (role, id) = (member.role, member.id);
                self.member(role, id, varying, &mut cursor)?;
                continue;
            }
            let mut cursor = Cursor::new(&line);
            cursor.skip_blanks();
            match cursor.peek() {
                None => {}
                Some(b'#') => self.comment(cursor)?,
                Some(_) => self.sample(cursor)?,
            }
        }
        Ok(())
    }

    fn sample(&mut self, mut cursor: Cursor<'a>) -> Lexed<()> {
        let head = cursor.head(Dialect::Text, self.likely, &mut self.list)?;
        let (family, role) = self.resolve(&head)?;
        let at = head.offset;
        match role {
            Role::Value => {
                let number = float(value(&mut cursor)?)?;
                end_of_sample(&mut cursor, self.options)?;
                let id = self.builder.series(family, &mut self.list.labels).at(at)?;
                self.builder.set_scalar(id, number).at(at)
            }
            Role::Bucket | Role::Quantile => {
                let name = if role == Role::Bucket { "le" } else { "quantile" };
                let Some(varying) = self.list.take(name) else {
                    let message = format!("the sample needs a label {name:?}");
                    return Err(Flaw::new(at, message));
                };
                if self.list.has(name) {
                    return Err(Flaw::new(at, format!("label {name:?} is given twice")));
                }
                let id = self.member_series(family, head.key(Some(varying)), at)?;
                let line = head.repeat(varying);
                self.last_member = Some(LastMember { line, role, id });
                let varying = head.token(&cursor, varying);
                self.member(role, id, varying, &mut cursor)
            }
            Role::Sum => {
                let sum = float(value(&mut cursor)?)?;
                end_of_sample(&mut cursor, self.options)?;
                let id = self.total_series(family, &head)?;
                self.builder.set_sum(id, sum).at(at)
            }
            Role::Count => {
                let count = value(&mut cursor)?;
                let count = match self.kind(family) {
                    Kind::Summary => summary_count(count)?,
                    _ => population(count)?,
                };
                end_of_sample(&mut cursor, self.options)?;
                let id = self.total_series(family, &head)?;
                self.builder.set_count(id, count).at(at)
            }
        }
    }

    /// A bucket or quantile whose name and labels are known; the cursor stands behind them.
    #[inline]
    fn member(
        &mut self,
        role: Role,
        id: SeriesId,
        varying: Token<'a>,
        cursor: &mut Cursor<'a>,
    ) -> Lexed<()> {
        let value = value(cursor)?;
        if role == Role::Bucket {
            let upper_bound = bound(varying, "a number as bucket bound")?;
            let cumulative_count = population(value)?;
            self.builder.add_bucket(id, Bucket { upper_bound, cumulative_count, exemplar: None });
        } else {
            let quantile = bound(varying, "a number as quantile")?;
            self.builder.add_quantile(id, quantile, float(value)?);
        }
        end_of_sample(cursor, self.options)
    }

    /// The series of a `_sum` or `_count`.
    fn total_series(&mut self, family: FamilyId, head: &Head<'a>) -> Lexed<SeriesId> {
        let reserved = if self.kind(family) == Kind::Summary { "quantile" } else { "le" };
        if self.list.has(reserved) {
            let message = format!("label {reserved:?} has no place on a sum or count");
            return Err(Flaw::new(head.offset, message));
        }
        self.member_series(family, head.key(None), head.offset)
    }

    /// The series with the labels in the list, which `key` stands for.
    fn member_series(&mut self, family: FamilyId, key: Key<'a>, offset: usize) -> Lexed<SeriesId> {
        if let Some(last) = &self.last_series
            && last.family == family
            && last.key == key
        {
            return Ok(last.id);
        }
        let id = self.builder.series(family, &mut self.list.labels).at(offset)?;
        self.last_series = Some(LastSeries { family, key, id });
        Ok(id)
    }

    fn kind(&self, family: FamilyId) -> Kind {
        match &self.current {
            Some(current) if current.family == family => current.kind,
            _ => self.builder.kind(family),
        }
    }
}

// === Families ===

impl<'a> Reader<'a, '_> {
    /// The family of a sample, made if the name is new.
    #[inline]
    fn resolve(&mut self, head: &Head<'a>) -> Lexed<(FamilyId, Role)> {
        if let Some(last) = &self.last_name
            && last.name == head.name
        {
            return Ok((last.family, last.role));
        }
        let (family, suffix) = self.family(head.name.clone());
        let role = match suffix {
            "_bucket" => Role::Bucket,
            "_sum" => Role::Sum,
            "_count" => Role::Count,
            _ => match self.kind(family) {
                Kind::Summary => Role::Quantile,
                Kind::Histogram | Kind::GaugeHistogram => {
                    let name = Excerpt(&head.name);
                    return Err(Flaw::new(
                        head.offset,
                        format!("{name} is a histogram: its samples end in _bucket, _sum, _count"),
                    ));
                }
                _ => Role::Value,
            },
        };
        self.last_name = Some(Resolved { name: head.name.clone(), family, role });
        Ok((family, role))
    }

    /// The family that a name belongs to, and the suffix of the name there. It becomes the current
    /// one.
    fn family(&mut self, name: Cow<'a, str>) -> (FamilyId, &'static str) {
        if let Some(current) = &self.current
            && let Some(suffix) = name.strip_prefix(&*current.name)
        {
            if suffix.is_empty() {
                return (current.family, "");
            }
            if !self.suffixed_families
                && let Some(suffix) = known_suffix(current.kind, suffix)
            {
                return (current.family, suffix);
            }
        }
        let suffixes = Kind::Histogram.sample_suffixes();
        if suffixes.iter().any(|suffix| name.ends_with(suffix)) {
            if let Some(family) = self.builder.find_family(&name) {
                self.enter(family, name);
                return (family, "");
            }
            for suffix in suffixes {
                if let Some(base) = name.strip_suffix(suffix)
                    && let Some(family) = self.builder.find_family(base)
                    && let Some(suffix) = known_suffix(self.builder.kind(family), suffix)
                {
                    let bytes = base.len();
                    let base = prefix(name, bytes);
                    self.enter(family, base);
                    return (family, suffix);
                }
            }
            self.suffixed_families = true;
        }
        let family = self.builder.family(&name);
        self.enter(family, name);
        (family, "")
    }

    fn enter(&mut self, family: FamilyId, name: Cow<'a, str>) {
        let kind = self.builder.kind(family);
        self.current = Some(Current { family, name, kind });
    }
}

/// The suffix, if the samples of this kind may bear it.
fn known_suffix(kind: Kind, suffix: &str) -> Option<&'static str> {
    kind.sample_suffixes().iter().copied().find(|known| *known == suffix)
}

/// The first `bytes` bytes of a name.
fn prefix(name: Cow<'_, str>, bytes: usize) -> Cow<'_, str> {
    match name {
        Cow::Borrowed(name) => Cow::Borrowed(&name[..bytes]),
        Cow::Owned(mut name) => {
            name.truncate(bytes);
            Cow::Owned(name)
        }
    }
}

// === Metadata ===

impl<'a> Reader<'a, '_> {
    /// At a `#`. A line with nothing behind keyword or name says nothing (formats 3, G5).
    fn comment(&mut self, mut cursor: Cursor<'a>) -> Lexed<()> {
        cursor.eat(b'#');
        cursor.skip_blanks();
        let keyword = cursor.token().text;
        if !matches!(keyword, "HELP" | "TYPE") {
            return Ok(());
        }
        cursor.skip_blanks();
        let at = cursor.offset();
        if cursor.at_end() {
            return Ok(());
        }
        let name = cursor.metadata_name(Dialect::Text, &mut self.likely)?;
        if name.is_empty() || !matches!(cursor.peek(), None | Some(b' ' | b'\t')) {
            let message = format!("the metric name after {keyword} is not valid, or needs quotes");
            return Err(Flaw::new(at, message));
        }
        cursor.skip_blanks();
        if cursor.at_end() {
            return Ok(());
        }
        let (family, suffix) = self.family(name.clone());
        if keyword == "TYPE" && !suffix.is_empty() {
            let owner = self.builder.get(family);
            let (name, kind, owner) = (Excerpt(&name), owner.kind, Excerpt(owner.name));
            return Err(Flaw::new(at, format!("{name} belongs to the {kind} {owner}")));
        }
        if keyword == "TYPE" {
            self.set_kind(family, cursor.rest(), at)
        } else {
            self.set_help(family, cursor.rest(), at)
        }
    }

    fn set_kind(&mut self, family: FamilyId, word: Token<'a>, at: usize) -> Lexed<()> {
        let known = self.builder.get(family);
        if known.typed {
            let name = Excerpt(known.name);
            return Err(Flaw::new(at, format!("second TYPE of metric {name}")));
        }
        if known.series > 0 {
            let name = Excerpt(known.name);
            return Err(Flaw::new(at, format!("TYPE of metric {name} comes after its samples")));
        }
        let kind = kind_of(word)?;
        self.builder.set_kind(family, kind);
        if let Some(current) = &mut self.current {
            current.kind = kind;
        }
        Ok(())
    }

    fn set_help(&mut self, family: FamilyId, text: Token<'a>, at: usize) -> Lexed<()> {
        let known = self.builder.get(family);
        if known.help.is_some() {
            return Err(Flaw::new(at, format!("second HELP of metric {}", Excerpt(known.name))));
        }
        self.builder.set_help(family, &lex::help(text)?);
        Ok(())
    }
}

/// Letter case does not matter, a blank behind the word does (formats G5).
fn kind_of(word: Token<'_>) -> Lexed<Kind> {
    const WORDS: [(&str, Kind); 7] = [
        ("counter", Kind::Counter),
        ("gauge", Kind::Gauge),
        ("histogram", Kind::Histogram),
        ("summary", Kind::Summary),
        ("untyped", Kind::Untyped),
        ("gaugehistogram", Kind::GaugeHistogram),
        ("gauge_histogram", Kind::GaugeHistogram),
    ];
    let known = WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word.text));
    known.map(|&(_, kind)| kind).ok_or_else(|| {
        word.fail("counter, gauge, histogram, gaugehistogram, summary or untyped, and nothing more")
    })
}

// === Numbers ===

/// The token of a value.
#[inline]
fn value<'a>(cursor: &mut Cursor<'a>) -> Lexed<Token<'a>> {
    cursor.skip_blanks();
    if cursor.at_end() {
        return Err(cursor.expected("the value of the sample"));
    }
    Ok(cursor.token())
}

#[inline]
fn float(token: Token<'_>) -> Lexed<f64> {
    parse_float(token.text).ok_or_else(|| token.fail("a number within the range of a double"))
}

/// A bound or quantile. Adding zero makes -0 the same bound as 0.
#[inline]
fn bound(token: Token<'_>, expected: &str) -> Lexed<f64> {
    match parse_float(token.text) {
        Some(bound) if !bound.is_nan() => Ok(bound + 0.0),
        _ => Err(token.fail(expected)),
    }
}

/// The count of a histogram or one of its buckets; fractions are fine.
#[inline]
fn population(token: Token<'_>) -> Lexed<Number> {
    match parse_count(token.text) {
        Some(count @ Number::Int(_)) => Ok(count),
        Some(count @ Number::Float(float)) if float >= 0.0 => Ok(count),
        _ => Err(token.fail("a count that is not negative")),
    }
}

/// The count of a summary (formats G10).
fn summary_count(token: Token<'_>) -> Lexed<Number> {
    match parse_count(token.text) {
        Some(count @ Number::Int(_)) => Ok(count),
        _ => Err(token.fail("a whole number below 2^64 as count of a summary")),
    }
}

/// What may stand behind the value.
#[inline]
fn end_of_sample(cursor: &mut Cursor<'_>, options: TextOptions) -> Lexed<()> {
    cursor.skip_blanks();
    if cursor.at_end() { Ok(()) } else { timestamp(cursor, options) }
}

#[cold]
fn timestamp(cursor: &mut Cursor<'_>, options: TextOptions) -> Lexed<()> {
    let token = cursor.token();
    if parse_millis(token.text).is_none() {
        return Err(token.fail("the end of the line (or a timestamp in milliseconds)"));
    }
    if options.timestamps == Timestamps::Reject {
        return Err(Flaw::new(token.offset, lex::TIMESTAMP_REFUSED));
    }
    cursor.skip_blanks();
    if cursor.at_end() { Ok(()) } else { Err(cursor.expected("the end of the line")) }
}

#[cfg(test)]
mod tests;
