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
//! One blank between tokens and none elsewhere; no empty lines, no other comments. All lines of a
//! family stand together, and in it those of a metric (one label set). Families get the name of
//! their samples in the text format: counter `a` becomes `a_total`, info `a` becomes `a_info`;
//! `_created` becomes the start time of its metric.

mod family;
mod metric;

use std::borrow::Cow;

use super::lex::{
    At, Cursor, Dialect, Excerpt, Flaw, Head, Key, LabelList, Lexed, Line, Lines, Repeat, Token,
};
use super::number::{parse_count, parse_float, parse_seconds};
use super::{ParseError, Timestamps, lex};
use crate::model::exposition::Bucket;
use crate::model::{Builder, Exemplar, FamilyId, Grouping, Kind, Number, SeriesId, labels};
use family::{Families, Family, Role};
use metric::Metric;

/// How OpenMetrics is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenMetricsOptions {
    /// Refuses a body without `# EOF`. The format demands that line, but Go's client leaves it out
    /// of pushes (clients R6). Nothing may follow it in any case.
    pub require_eof: bool,
    pub timestamps: Timestamps,
}

/// Reads a whole body.
///
/// # Errors
/// For the first thing that is not as formats 5 demands. The exposition must then not be used.
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

/// Whether the last line is `# EOF`: a body that says so is OpenMetrics, whatever its content type
/// (clients R6).
pub fn has_eof(body: &[u8]) -> bool {
    let body = body.strip_suffix(b"\n").unwrap_or(body);
    body.strip_suffix(EOF.as_bytes()).is_some_and(|rest| rest.is_empty() || rest.ends_with(b"\n"))
}

const EOF: &str = "# EOF";

struct Reader<'a, 'e> {
    builder: Builder<'e>,
    options: OpenMetricsOptions,
    list: LabelList<'a>,
    exemplar_list: LabelList<'a>,
    exemplar_text: String,
    no_grouping: Grouping,
    families: Families<'a>,
    /// The name that metadata named last, without quotes: many lines to come begin with it.
    likely: &'a str,
    /// The one whose lines are being read.
    family: Option<Family<'a>>,
    /// Likewise; not for kinds whose metrics have one sample each.
    metric: Option<Metric<'a>>,
    newest_series: Option<SeriesId>,
    /// The line before, if it was a bucket, quantile or state.
    repeat: Option<Repeated<'a>>,
}

/// Samples that repeat the one before but for one label, and the value.
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
            options,
            list: LabelList::default(),
            exemplar_list: LabelList::default(),
            exemplar_text: String::new(),
            no_grouping: Grouping::default(),
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
        if self.options.require_eof {
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
        match &self.family {
            Some(family) if family.name == name => {}
            _ => self.open_family(Family::new(name, at))?,
        }
        let Some(family) = &mut self.family else { return Ok(()) };
        let text = cursor.rest();
        match keyword {
            "# TYPE " => family.set_kind(text, at),
            "# HELP " => family.set_help(text, at),
            _ => family.set_unit(text, at),
        }
    }

    fn open_family(&mut self, family: Family<'a>) -> Lexed<()> {
        self.close_family()?;
        if self.families.has(&family.name) {
            return Err(family.reopened());
        }
        self.family = Some(family);
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
                self.end(cursor, Exemplars::Forbidden)?;
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

    /// Family and role of a sample, and the label that tells samples of one metric apart. A name
    /// that the current family has no sample of begins a family of unknown kind.
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
            self.open_family(Family::new(head.name.clone(), head.offset))?;
        }
        let Some(family) = &mut self.family else {
            unreachable!("a family was open or has been opened")
        };
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

    /// The metric with the labels in the list, which `key` stands for.
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

    /// A sample told apart by `varying`; the cursor stands behind the labels.
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
                let exemplar = self.end(cursor, Exemplars::Allowed)?.map(Box::new);
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
                self.end(cursor, Exemplars::Forbidden)?;
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
                self.end(cursor, Exemplars::Forbidden)?;
                self.builder.add_state(id, &labels::unescape(varying.text), number == 1.0);
            }
        }
        Ok(())
    }

    /// A sample of which a metric has at most one.
    fn part(&mut self, role: Role, id: SeriesId, mut cursor: Cursor<'a>, at: usize) -> Lexed<()> {
        let token = value(&mut cursor)?;
        let gauge_like = self.family.as_ref().map(Family::kind) == Some(Kind::GaugeHistogram);
        let Some(metric) = &mut self.metric else {
            unreachable!("a metric was entered before its part")
        };
        match role {
            Role::Total => {
                metric.total = true;
                let total = not_negative(token)?;
                let exemplar = self.end(cursor, Exemplars::Allowed)?;
                self.builder.set_scalar(id, total).at(at)?;
                if let Some(exemplar) = exemplar {
                    self.builder.add_exemplar(id, exemplar);
                }
            }
            Role::Count => {
                let count = whole(token)?;
                metric.count = Some(count);
                self.end(cursor, Exemplars::Forbidden)?;
                self.builder.set_count(id, count).at(at)?;
            }
            Role::Sum => {
                let sum = if gauge_like { not_nan(token)? } else { not_negative(token)? };
                metric.sum = Some(sum);
                self.end(cursor, Exemplars::Forbidden)?;
                self.builder.set_sum(id, sum).at(at)?;
            }
            _ => {
                let created = parse_seconds(token.text)
                    .ok_or_else(|| token.fail("a time in seconds since 1970"))?;
                if std::mem::replace(&mut metric.created, true) {
                    return Err(Flaw::new(at, "the start time of this metric is given twice"));
                }
                self.end(cursor, Exemplars::Forbidden)?;
                self.builder.set_created(id, created);
            }
        }
        Ok(())
    }
}

// === Behind the value ===

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exemplars {
    Allowed,
    Forbidden,
}

impl<'a> Reader<'a, '_> {
    #[inline]
    fn end(&mut self, cursor: Cursor<'a>, exemplars: Exemplars) -> Lexed<Option<Exemplar>> {
        if cursor.at_end() { Ok(None) } else { self.long_end(cursor, exemplars) }
    }

    fn long_end(
        &mut self,
        mut cursor: Cursor<'a>,
        exemplars: Exemplars,
    ) -> Lexed<Option<Exemplar>> {
        if !cursor.eat(b' ') {
            return Err(cursor.expected("the end of the line"));
        }
        if cursor.peek() != Some(b'#') {
            let token = cursor.token();
            if parse_seconds(token.text).is_none() {
                return Err(token.fail("the end of the line (or a timestamp in seconds)"));
            }
            if self.options.timestamps == Timestamps::Reject {
                return Err(Flaw::new(token.offset, lex::TIMESTAMP_REFUSED));
            }
            if cursor.at_end() {
                return Ok(None);
            }
            if !cursor.eat(b' ') {
                return Err(cursor.expected("the end of the line"));
            }
        }
        if exemplars == Exemplars::Forbidden {
            let message = "only \"_total\" and \"_bucket\" samples may have an exemplar";
            return Err(Flaw::new(cursor.offset(), message));
        }
        self.exemplar(cursor).map(Some)
    }

    fn exemplar(&mut self, mut cursor: Cursor<'a>) -> Lexed<Exemplar> {
        const CODE_POINTS_MAX: usize = 128;
        let at = cursor.offset();
        if !cursor.eat_all("# {") {
            return Err(
                cursor.expected("an exemplar, \"# {labels} value\", or the end of the line")
            );
        }
        let list = &mut self.exemplar_list;
        list.clear();
        if cursor.list(Dialect::OpenMetrics, list)?.is_some() {
            return Err(Flaw::new(at, "an exemplar has labels but no name"));
        }
        let points = |text: &str| text.chars().count();
        let value_points = |label: &labels::Label<'_>| match label.escaped {
            true => points(&labels::unescape(&label.value)),
            false => points(&label.value),
        };
        let length = list.labels.iter().map(|label| points(&label.name) + value_points(label));
        let length: usize = length.sum();
        if length > CODE_POINTS_MAX {
            let message = format!(
                "the labels of an exemplar have {length} characters, at most {CODE_POINTS_MAX} may"
            );
            return Err(Flaw::new(at, message));
        }
        let text = &mut self.exemplar_text;
        text.clear();
        labels::write_canonical(text, &mut list.labels, &self.no_grouping)
            .map_err(Into::into)
            .at(at)?;
        let number = float(value(&mut cursor)?)?;
        let mut timestamp_ms = None;
        if cursor.eat(b' ') {
            let token = cursor.token();
            let millis = parse_seconds(token.text);
            timestamp_ms = Some(millis.ok_or_else(|| token.fail("a timestamp in seconds"))?);
        }
        if !cursor.at_end() {
            return Err(cursor.expected("the end of the line"));
        }
        Ok(Exemplar { labels: self.exemplar_text.as_str().into(), value: number, timestamp_ms })
    }
}

// === Numbers ===

/// The token of a value, which one blank precedes.
#[inline]
fn value<'a>(cursor: &mut Cursor<'a>) -> Lexed<Token<'a>> {
    if !cursor.eat(b' ') {
        return Err(cursor.expected("one blank before the value"));
    }
    let token = cursor.token();
    if token.text.is_empty() {
        return Err(cursor.expected("the value, after one blank"));
    }
    Ok(token)
}

#[inline]
fn float(token: Token<'_>) -> Lexed<f64> {
    parse_float(token.text).ok_or_else(|| token.fail("a number within the range of a double"))
}

fn not_nan(token: Token<'_>) -> Lexed<f64> {
    let number = float(token)?;
    if number.is_nan() { Err(token.fail("a number, not NaN")) } else { Ok(number) }
}

fn not_negative(token: Token<'_>) -> Lexed<f64> {
    let number = float(token)?;
    if number >= 0.0 { Ok(number) } else { Err(token.fail("a number that is not negative or NaN")) }
}

/// A count: integral however it is written.
#[inline]
fn whole(token: Token<'_>) -> Lexed<Number> {
    match parse_count(token.text) {
        Some(count @ Number::Int(_)) => Ok(count),
        Some(count @ Number::Float(float)) if float >= 0.0 && float.fract() == 0.0 => Ok(count),
        _ => Err(token.fail("a whole number that is not negative")),
    }
}

/// Adding zero makes -0 the same bound as 0. Of infinity there is one spelling.
#[inline]
fn bound(token: Token<'_>) -> Lexed<f64> {
    match parse_float(token.text) {
        Some(bound) if bound.is_finite() || matches!(token.text, "+Inf" | "-Inf") => {
            Ok(bound + 0.0)
        }
        _ => Err(token.fail("a number as bucket bound (infinity is spelled +Inf)")),
    }
}

#[cfg(test)]
mod tests;
