//! Reads text 0.0.4 and 1.0.0 (formats 3 and 4), which differ only in quoted names.
//!
//! ```text
//! body   = { line LF } [ blanks ]               blank = space or tab
//! line   = blanks [ "#" comment | sample ]
//! sample = head blanks value [ blanks timestamp ] blanks        head: see `lex::list`
//! ```
//!
//! Only the comments `HELP name text` and `TYPE name type` have a meaning. The lines of a family need
//! not be consecutive. A sample belongs to the family of exactly its name, if there is one so far;
//! else, without `_sum`, `_count` or `_bucket`, to a summary or histogram so far; else it begins an
//! untyped family.

mod again;
mod family;
mod value;

use super::lex::{
    At, Cursor, Dialect, Flaw, Head, Key, LabelList, Lexed, Line, Lines, Repeat, Token,
};
use super::{ParseError, Timestamps, lex};
use crate::model::exposition::{Bucket, Given};
use crate::model::{Builder, FamilyId, Kind, SeriesId};
pub use again::read_again;
use family::{Families, Role};
use value::{bound, end_of_sample, float, population, summary_count, value};

/// Appended if a name ended at a character that is allowed only in quotes.
const NAME_NEEDS_QUOTES: &str =
    " (a metric name with other characters than a-z, A-Z, 0-9, _ and : is written {\"name\"})";

/// How strictly text is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextOptions {
    /// Accepts CR LF at the end of a line, and a last line without LF, as clients on other systems and
    /// shell scripts send them (clients R9). The Pushgateway refuses both (formats 3).
    ///
    /// This has a risk: a body that was cut off within its last number is still valid, with another
    /// number. HTTP itself detects a body that was cut in transit (by its length or last chunk), so
    /// this concerns bodies that were cut before they were sent.
    pub lenient_line_ends: bool,
    /// A blank after a value must be followed by a timestamp, as in the Pushgateway
    /// (pushgateway-contract 4).
    pub blank_means_timestamp: bool,
    pub timestamps: Timestamps,
}

/// Reads a whole body.
///
/// # Errors
/// For the first violation of the grammar or of formats 3 and 4. The exposition must then not be used.
pub fn parse(body: &[u8], builder: Builder<'_>, options: TextOptions) -> Result<(), ParseError> {
    let text = lex::utf8(body)?;
    let mut reader = Reader::new(builder, options);
    reader.read(text).map_err(|flaw| {
        let mut error = flaw.locate(text);
        if !text.contains('\n') {
            error.message += LINE_FEEDS_LOST;
        }
        error
    })?;
    Ok(reader.builder.finish()?)
}

/// The usual reason for a body of one line that cannot be read (clients R20).
const LINE_FEEDS_LOST: &str =
    " (the body has no line feed: did curl -d take them out? --data-binary keeps them)";

/// Only reads tokens and counts samples: the part of [`parse`] that benchmarks measure on its own.
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
    /// The line without its end; `None` for blanks after the last line feed.
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

/// The last series of a histogram or summary.
#[derive(Debug)]
struct LastSeries<'a> {
    family: FamilyId,
    key: Key<'a>,
    id: SeriesId,
}

/// For samples that differ from the previous one only in bound or quantile and in the value.
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
    families: Families<'a>,
    last_series: Option<LastSeries<'a>>,
    last_member: Option<LastMember<'a>>,
}

impl<'a, 'e> Reader<'a, 'e> {
    fn new(builder: Builder<'e>, options: TextOptions) -> Reader<'a, 'e> {
        Reader {
            builder,
            options,
            list: LabelList::default(),
            families: Families::default(),
            last_series: None,
            last_member: None,
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
                // Accepted, this would push nothing, whatever the file held before its line feeds got
                // lost.
                Some(b'#') if !line.ended && line.start == 0 => {
                    return Err(Flaw::new(0, "the whole body is one comment"));
                }
                Some(b'#') => self.families.comment(&mut self.builder, cursor)?,
                Some(_) => self.sample(cursor)?,
            }
        }
        Ok(())
    }

    fn sample(&mut self, mut cursor: Cursor<'a>) -> Lexed<()> {
        let head = cursor.head(Dialect::Text, self.families.likely(), &mut self.list)?;
        let (family, role) = self.families.resolve(&mut self.builder, &head)?;
        let at = head.offset;
        match role {
            Role::Value => {
                let token = value(&mut cursor)?;
                let number = float(token).map_err(|flaw| {
                    if is_glued(token, &head) { flaw.and(NAME_NEEDS_QUOTES) } else { flaw }
                })?;
                self.end_of_sample(&mut cursor)?;
                let id = self.builder.series(family, &mut self.list.labels).at(at)?;
                self.note_behind(&head, token, Given::Scalar(id));
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
                let token = value(&mut cursor)?;
                let sum = float(token)?;
                self.end_of_sample(&mut cursor)?;
                let id = self.total_series(family, &head)?;
                self.note_behind(&head, token, Given::Sum(id));
                self.builder.set_sum(id, sum).at(at)
            }
            Role::Count => {
                let token = value(&mut cursor)?;
                let count = match self.builder.kind(family) {
                    Kind::Summary => summary_count(token)?,
                    _ => population(token)?,
                };
                self.end_of_sample(&mut cursor)?;
                let id = self.total_series(family, &head)?;
                self.note_behind(&head, token, Given::Count(id));
                self.builder.set_count(id, count).at(at)
            }
        }
    }

    /// A bucket or quantile whose name and labels are known; the cursor is after them.
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
            self.note(value, Given::LastBucket);
        } else {
            let quantile = bound(varying, "a number as quantile")?;
            self.builder.add_quantile(id, quantile, float(value)?);
            self.note(value, Given::LastQuantile);
        }
        self.end_of_sample(cursor)
    }

    #[inline]
    fn end_of_sample(&mut self, cursor: &mut Cursor<'a>) -> Lexed<()> {
        if end_of_sample(cursor, self.options)? && self.builder.replaces() {
            self.builder.complain(lex::TIMESTAMP_IN_GROUP.to_owned());
        }
        Ok(())
    }

    #[inline]
    fn note(&mut self, value: Token<'_>, given: Given) {
        self.builder.note_slot(value.offset, value.offset + value.text.len(), given);
    }

    /// Notes the position of the value, unless it follows the name directly: another value there might
    /// continue the name.
    #[inline]
    fn note_behind(&mut self, head: &Head<'a>, token: Token<'_>, given: Given) {
        if !is_glued(token, head) {
            self.note(token, given);
        }
    }

    /// The series of a `_sum` or `_count`.
    fn total_series(&mut self, family: FamilyId, head: &Head<'a>) -> Lexed<SeriesId> {
        if let Some(reserved) = self.builder.kind(family).sample_label()
            && self.list.has(reserved)
        {
            let message = format!("label {reserved:?} has no place on a sum or count");
            return Err(Flaw::new(head.offset, message));
        }
        self.member_series(family, head.key(None), head.offset)
    }

    /// The series with the labels in the list, for which `key` stands.
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
}

/// Whether the value directly follows the name, as in `a-1`.
fn is_glued(value: Token<'_>, head: &Head<'_>) -> bool {
    value.offset == head.offset + head.name.len()
}

#[cfg(test)]
mod tests;
