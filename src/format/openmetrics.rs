//! Reading OpenMetrics text 1.0.0, with every MUST of formats 5 (G21).
//!
//! ```text
//! exposition = { family } "# EOF" [ LF ]
//! family     = { meta } { sample }
//! meta       = "# TYPE " name " " type LF | "# HELP " name " " text LF | "# UNIT " name " " unit LF
//! sample     = head " " number [ " " seconds ] [ exemplar ] LF              head: see `lex::list`
//! exemplar   = " # {" labels "} " number [ " " seconds ]
//! ```
//!
//! There is one blank between tokens and none elsewhere; there are no empty lines and no other
//! comments. All lines of a family are consecutive, and within it those of a metric (one label set).
//! Families get the name that their samples have in the text format: counter `a` becomes `a_total`,
//! info `a` becomes `a_info`; `_created` becomes the start time of its metric.

mod family;
mod metric;
mod tail;

use std::borrow::Cow;

use super::lex::{
    At, Cursor, Dialect, Excerpt, Flaw, Head, Key, LabelList, Lexed, Line, Lines, Repeat, Token,
};
use super::number::{parse_float, parse_seconds};
use super::{ParseError, Timestamps, lex};
use crate::model::exposition::Bucket;
use crate::model::{Builder, FamilyId, Kind, SeriesId, labels};
use family::{Families, Family, Role};
use metric::Metric;
use tail::{Exemplars, Tail, bound, float, not_nan, not_negative, value, whole};

/// How strictly to read OpenMetrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenMetricsOptions {
    /// Refuses a body without `# EOF`. The format demands that line, but Go's client leaves it out of
    /// pushes (clients R6). Nothing may ever follow it.
    pub require_eof: bool,
    pub timestamps: Timestamps,
}

/// Reads a whole body.
///
/// # Errors
/// For the first violation of formats 5. The exposition must then not be used.
pub fn parse(
    body: &[u8],
    builder: Builder<'_>,
    options: OpenMetricsOptions,
) -> Result<(), ParseError> {
    let text = lex::utf8(body)?;
    let mut reader = Reader::new(builder, options);
    reader.read(text).map_err(|flaw| flaw.locate(text))?;
    Ok(reader.builder.finish()?)
}

/// Whether the last line is `# EOF`: such a body is OpenMetrics, whatever its content type (clients
/// R6).
pub fn has_eof(body: &[u8]) -> bool {
    let body = body.strip_suffix(b"\n").unwrap_or(body);
    body.strip_suffix(EOF.as_bytes()).is_some_and(|rest| rest.is_empty() || rest.ends_with(b"\n"))
}

const EOF: &str = "# EOF";

struct Reader<'a, 'e> {
    builder: Builder<'e>,
    require_eof: bool,
    list: LabelList<'a>,
    tail: Tail<'a>,
    families: Families<'a>,
    /// The last unquoted name in metadata: many lines to come begin with it.
    likely: &'a str,
    /// The family whose lines are being read.
    family: Option<Family<'a>>,
    /// The metric whose lines are being read; `None` for kinds whose metrics have one sample each.
    metric: Option<Metric<'a>>,
    newest_series: Option<SeriesId>,
    /// The previous line, if it was a bucket, quantile or state.
    repeat: Option<Repeated<'a>>,
}

/// For samples that differ from the previous one only in one label and the value.
#[derive(Clone, Copy, Debug)]
struct Repeated<'a> {
    line: Repeat<'a>,
    role: Role,
    id: SeriesId,
}

impl<'a, 'e> Reader<'a, 'e> {
    fn new(builder: Builder<'e>, options: OpenMetricsOptions) -> Reader<'a, 'e> {
        Reader {
            builder,
            require_eof: options.require_eof,
            list: LabelList::default(),
            tail: Tail::new(options.timestamps),
            families: Families::default(),
            likely: "",
            family: None,
            metric: None,
            newest_series: None,
            repeat: None,
        }
    }

    fn read(&mut self, body: &'a str) -> Lexed<()> {
        let mut lines = Lines::new(body);
        while let Some(line) = lines.next() {
            if line.text == EOF {
                if let Some(after) = lines.next() {
                    return Err(Flaw::new(after.start, "nothing may follow \"# EOF\""));
                }
                return self.close_family();
            }
            if !line.ended {
                let message = "the last line has no line feed and is not \"# EOF\": is it cut off?";
                return Err(Flaw::new(body.len(), message));
            }
            self.line(&line)?;
        }
        if self.require_eof {
            return Err(Flaw::new(body.len(), "\"# EOF\" is missing: is the body cut off?"));
        }
        self.close_family()
    }

    #[inline]
    fn line(&mut self, line: &Line<'a>) -> Lexed<()> {
        if let Some(Repeated { line: before, role, id }) = self.repeat
            && let Some((varying, cursor)) = before.find(line)
        {
            return self.member(role, id, varying, cursor);
        }
        self.repeat = None;
        let cursor = Cursor::new(line);
        match cursor.peek() {
            None => Err(Flaw::new(line.start, "empty lines are not allowed in OpenMetrics")),
            Some(b'#') => self.metadata(cursor),
            Some(_) => self.sample(cursor),
        }
    }

    fn metadata(&mut self, mut cursor: Cursor<'a>) -> Lexed<()> {
        let start = cursor.offset();
        let keyword = ["# TYPE ", "# HELP ", "# UNIT "].into_iter().find(|k| cursor.eat_all(k));
        let Some(keyword) = keyword else {
            let expected = "\"# TYPE\", \"# HELP\", \"# UNIT\" or \"# EOF\" (no other comments)";
            let line = Excerpt(cursor.rest().text);
            return Err(Flaw::new(start, format!("found {line}, expected {expected}")));
        };
        let at = cursor.offset();
        let name = cursor.metadata_name(Dialect::OpenMetrics, &mut self.likely)?;
        if name.is_empty() {
            return Err(cursor.expected("a metric name"));
        }
        if !cursor.eat(b' ') {
            return Err(cursor.expected("one blank after the metric name"));
        }
        if self.family.as_ref().is_none_or(|family| family.name != name) {
            self.leave_family(&name, at)?;
        }
        let family = self.family.get_or_insert_with(|| Family::new(name, at));
        let text = cursor.rest();
        match keyword {
            "# TYPE " => family.set_kind(text, at),
            "# HELP " => family.set_help(text, at),
            _ => family.set_unit(text, at),
        }
    }

    /// Closes the family, because another one begins, which must be new.
    fn leave_family(&mut self, next: &str, at: usize) -> Lexed<()> {
        self.close_family()?;
        if self.families.has(next) {
            let name = Excerpt(next);
            let message =
                format!("metric {name} was here before: all its lines must stand together");
            return Err(Flaw::new(at, message));
        }
        Ok(())
    }

    fn close_family(&mut self) -> Lexed<()> {
        self.close_metric()?;
        match self.family.take() {
            Some(family) if family.id.is_none() => self.families.declare(&family),
            _ => Ok(()),
        }
    }
}

// === Samples ===

impl<'a> Reader<'a, '_> {
    fn sample(&mut self, mut cursor: Cursor<'a>) -> Lexed<()> {
        let head = cursor.head(Dialect::OpenMetrics, self.likely, &mut self.list)?;
        let at = head.offset;
        let (family, role, reserved) = self.resolve(&head)?;
        match role {
            Role::Value | Role::Info => {
                let token = value(&mut cursor)?;
                let number = float(token)?;
                if role == Role::Info && number != 1.0 {
                    return Err(token.fail("1, the only value of an info metric"));
                }
                self.tail.read(cursor, Exemplars::Forbidden)?;
                let id = self.builder.series(family, &mut self.list.labels).at(at)?;
                self.builder.set_scalar(id, number).at(at)
            }
            Role::Bucket | Role::Quantile | Role::State => {
                let reserved = reserved.unwrap_or_default();
                let Some(varying) = self.list.take(&reserved) else {
                    let label = Excerpt(&reserved);
                    return Err(Flaw::new(at, format!("the sample needs a label {label}")));
                };
                if self.list.has(&reserved) {
                    let label = Excerpt(&reserved);
                    return Err(Flaw::new(at, format!("label {label} is given twice")));
                }
                let id = self.enter_metric(family, head.key(Some(varying)), at)?;
                self.repeat = Some(Repeated { line: head.repeat(varying), role, id });
                self.member(role, id, head.token(&cursor, varying), cursor)
            }
            Role::Total | Role::Sum | Role::Count | Role::Created => {
                if reserved.is_some_and(|label| self.list.has(&label)) {
                    let message = "labels \"le\" and \"quantile\" have no place on this sample";
                    return Err(Flaw::new(at, message));
                }
                let id = self.enter_metric(family, head.key(None), at)?;
                self.part(role, id, cursor, at)
            }
        }
    }

    /// The family and role of a sample, and the label that distinguishes samples of one metric. A name
    /// that is not a sample of the current family begins a family of unknown kind.
    fn resolve(&mut self, head: &Head<'a>) -> Lexed<(FamilyId, Role, Option<Cow<'a, str>>)> {
        let known = match &self.family {
            Some(family) => match family.role(&head.name) {
                None if family.name == head.name => {
                    return Err(family.no_such_sample(head.offset));
                }
                known => known,
            },
            None => None,
        };
        if known.is_none() {
            self.leave_family(&head.name, head.offset)?;
        }
        let open = || Family::new(head.name.clone(), head.offset);
        let family = self.family.get_or_insert_with(open);
        let id = match family.id {
            Some(id) => id,
            None => {
                self.families.declare(family)?;
                let id = self.builder.family(&family.model_name());
                if family.typed() {
                    self.builder.set_kind(id, family.kind());
                }
                self.builder.set_help(id, family.help());
                self.builder.set_unit(id, family.unit());
                *family.id.insert(id)
            }
        };
        Ok((id, known.unwrap_or(Role::Value), family.reserved_label()))
    }

    /// The metric with the labels in the list, for which `key` stands.
    fn enter_metric(&mut self, family: FamilyId, key: Key<'a>, at: usize) -> Lexed<SeriesId> {
        if let Some(metric) = &mut self.metric
            && metric.key == key
        {
            metric.offset = at;
            return Ok(metric.id);
        }
        let id = self.builder.series(family, &mut self.list.labels).at(at)?;
        match &mut self.metric {
            Some(metric) if metric.id == id => {
                (metric.key, metric.offset) = (key, at);
                return Ok(id);
            }
            _ => self.close_metric()?,
        }
        if self.newest_series >= Some(id) {
            let message = "other metrics stand between the lines of this one (same labels)";
            return Err(Flaw::new(at, message));
        }
        self.newest_series = Some(id);
        self.metric = Some(Metric::new(id, key, at));
        Ok(id)
    }

    fn close_metric(&mut self) -> Lexed<()> {
        match (self.metric.take(), &self.family) {
            (Some(metric), Some(family)) => metric.check(family.kind()),
            _ => Ok(()),
        }
    }

    /// A sample that `varying` distinguishes from others of its metric; the cursor is after the labels.
    #[inline]
    fn member(
        &mut self,
        role: Role,
        id: SeriesId,
        varying: Token<'a>,
        mut cursor: Cursor<'a>,
    ) -> Lexed<()> {
        let token = value(&mut cursor)?;
        match role {
            Role::Bucket => {
                let upper_bound = bound(varying)?;
                let cumulative_count = whole(token)?;
                let exemplar = self.tail.read(cursor, Exemplars::Allowed)?.map(Box::new);
                if let Some(metric) = &mut self.metric {
                    metric.offset = varying.offset;
                    let risen = metric.bucket(upper_bound, cumulative_count);
                    risen.map_err(|message| Flaw::new(varying.offset, message))?;
                }
                self.builder.add_bucket(id, Bucket { upper_bound, cumulative_count, exemplar });
            }
            Role::Quantile => {
                let quantile = parse_float(varying.text)
                    .filter(|quantile| (0.0..=1.0).contains(quantile))
                    .ok_or_else(|| varying.fail("a quantile from 0 to 1"))?;
                let number = float(token)?;
                if number < 0.0 {
                    return Err(token.fail("a value that is not negative (or NaN)"));
                }
                self.tail.read(cursor, Exemplars::Forbidden)?;
                self.builder.add_quantile(id, quantile + 0.0, number);
            }
            _ => {
                let number = float(token)?;
                if number != 0.0 && number != 1.0 {
                    return Err(token.fail("0 or 1, the only values of a state"));
                }
                if varying.text.is_empty() {
                    return Err(Flaw::new(varying.offset, "the name of a state is empty"));
                }
                self.tail.read(cursor, Exemplars::Forbidden)?;
                self.builder.add_state(id, &labels::unescape(varying.text), number == 1.0);
            }
        }
        Ok(())
    }

    /// A sample that a metric has at most once.
    fn part(&mut self, role: Role, id: SeriesId, mut cursor: Cursor<'a>, at: usize) -> Lexed<()> {
        let token = value(&mut cursor)?;
        let kind = self.family.as_ref().map(Family::kind);
        let metric = self.metric.as_mut().expect("a metric is entered before its parts are read");
        match role {
            Role::Total => {
                metric.total = true;
                let total = not_negative(token)?;
                let exemplar = self.tail.read(cursor, Exemplars::Allowed)?;
                self.builder.set_scalar(id, total).at(at)?;
                if let Some(exemplar) = exemplar {
                    self.builder.add_exemplar(id, exemplar);
                }
            }
            Role::Count => {
                let count = whole(token)?;
                metric.count = Some(count);
                self.tail.read(cursor, Exemplars::Forbidden)?;
                self.builder.set_count(id, count).at(at)?;
            }
            Role::Sum => {
                let signed = kind == Some(Kind::GaugeHistogram);
                let sum = if signed { not_nan(token)? } else { not_negative(token)? };
                metric.sum = Some(sum);
                self.tail.read(cursor, Exemplars::Forbidden)?;
                self.builder.set_sum(id, sum).at(at)?;
            }
            _ => {
                let created = parse_seconds(token.text)
                    .ok_or_else(|| token.fail("a time in seconds since 1970"))?;
                if std::mem::replace(&mut metric.created, true) {
                    return Err(Flaw::new(at, "the start time of this metric is given twice"));
                }
                self.tail.read(cursor, Exemplars::Forbidden)?;
                self.builder.set_created(id, created);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
