//! What the two text formats share: sample names, the head of a line, labels of samples.

use super::Pieces;
use crate::format::write_number;
use crate::model::name::is_legacy_metric_name;
use crate::model::reading::BucketReading;

/// A sample name, ready to be followed by labels.
#[derive(Clone, Debug, Default)]
pub(super) struct SampleName {
    /// `name{` or `{"name",`
    labelled: Vec<u8>,
    /// `name` or `{"name"}`
    bare: Vec<u8>,
}

impl SampleName {
    pub(super) fn set(&mut self, name: &str, suffix: &str) {
        self.labelled.clear();
        self.bare.clear();
        if is_legacy_metric_name(name) {
            self.bare.extend_from_slice(name.as_bytes());
            self.bare.extend_from_slice(suffix.as_bytes());
            self.labelled.extend_from_slice(&self.bare);
            self.labelled.push(b'{');
        } else {
            self.bare.extend_from_slice(b"{\"");
            escape(&mut self.bare, name, Escapes::Quoted);
            self.bare.extend_from_slice(suffix.as_bytes());
            self.bare.push(b'"');
            self.labelled.extend_from_slice(&self.bare);
            self.labelled.push(b',');
            self.bare.push(b'}');
        }
    }

    /// Everything up to the value.
    #[inline]
    pub(super) fn write(&self, out: &mut Vec<u8>, labels: Pieces<'_>) {
        if labels.iter().all(|piece| piece.is_empty()) {
            out.extend_from_slice(&self.bare);
            out.push(b' ');
        } else {
            out.extend_from_slice(&self.labelled);
            append(out, labels);
            out.extend_from_slice(b"} ");
        }
    }

    /// Everything up to the last label, which must follow, together with the closing brace.
    pub(super) fn write_open(&self, out: &mut Vec<u8>, labels: Pieces<'_>) {
        out.extend_from_slice(&self.labelled);
        let start = out.len();
        append(out, labels);
        if out.len() > start {
            out.push(b',');
        }
    }
}

#[inline]
fn append(out: &mut Vec<u8>, labels: Pieces<'_>) {
    for piece in labels {
        // Pieces are often empty, and a call that copies nothing still costs time.
        if !piece.is_empty() {
            out.extend_from_slice(piece);
        }
    }
}

/// Which characters to escape besides `\` and LF (formats 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escapes {
    /// HELP of text 0.0.4: nothing.
    Plain,
    /// Quoted names, label values, HELP of OpenMetrics: also `"`.
    Quoted,
}

pub(super) fn escape(out: &mut Vec<u8>, text: &str, escapes: Escapes) {
    let mut rest = text.as_bytes();
    let quote = if escapes == Escapes::Quoted { b'"' } else { b'\n' };
    while let Some(at) = memchr::memchr3(b'\\', b'\n', quote, rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(match rest[at] {
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            _ => b"\\\"",
        });
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// `# KEYWORD name text`; `text` comes unescaped.
pub(super) fn metadata(
    out: &mut Vec<u8>,
    keyword: &str,
    name: &str,
    suffix: &str,
    text: &str,
    escapes: Escapes,
) {
    out.extend_from_slice(b"# ");
    out.extend_from_slice(keyword.as_bytes());
    out.push(b' ');
    if is_legacy_metric_name(name) {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(suffix.as_bytes());
    } else {
        out.push(b'"');
        escape(out, name, Escapes::Quoted);
        out.extend_from_slice(suffix.as_bytes());
        out.push(b'"');
    }
    out.push(b' ');
    escape(out, text, escapes);
    out.push(b'\n');
}

/// The `le` labels of a histogram, kept because the next series usually has the same.
#[derive(Debug)]
pub(super) struct Bounds {
    write: fn(&mut Vec<u8>, f64),
    bounds: Vec<f64>,
    /// `le="0.5"} ` of each.
    text: Vec<u8>,
    /// Where each ends in `text`.
    ends: Vec<usize>,
}

impl Bounds {
    /// `write` writes a float in this format.
    pub(super) fn new(write: fn(&mut Vec<u8>, f64)) -> Bounds {
        Bounds { write, bounds: Vec::new(), text: Vec::new(), ends: Vec::new() }
    }

    /// The labels of these buckets, in order.
    pub(super) fn of<'a>(
        &'a mut self,
        buckets: &[BucketReading],
    ) -> impl Iterator<Item = &'a [u8]> {
        let same = self.bounds.len() == buckets.len()
            && self.bounds.iter().zip(buckets).all(|(bound, b)| *bound == b.upper_bound);
        if !same {
            self.bounds.clear();
            self.text.clear();
            self.ends.clear();
            for bucket in buckets {
                self.bounds.push(bucket.upper_bound);
                bound_label(&mut self.text, b"le", bucket.upper_bound, self.write);
                self.ends.push(self.text.len());
            }
        }
        let Bounds { text, ends, .. } = &*self;
        let mut start = 0;
        ends.iter().map(move |&end| &text[std::mem::replace(&mut start, end)..end])
    }
}

/// `le="0.5"} `: the last label, with a number as its value, and the end of the labels.
pub(super) fn bound_label(
    out: &mut Vec<u8>,
    name: &[u8],
    bound: f64,
    write: fn(&mut Vec<u8>, f64),
) {
    out.extend_from_slice(name);
    out.extend_from_slice(b"=\"");
    write(out, bound);
    out.extend_from_slice(b"\"} ");
}

/// `n="state"} `: the label of a state, named like its family.
pub(super) fn state_label(out: &mut Vec<u8>, name: &str, state: &str) {
    if crate::model::name::is_legacy_label_name(name) {
        out.extend_from_slice(name.as_bytes());
    } else {
        out.push(b'"');
        escape(out, name, Escapes::Quoted);
        out.push(b'"');
    }
    out.extend_from_slice(b"=\"");
    escape(out, state, Escapes::Quoted);
    out.extend_from_slice(b"\"} ");
}

/// A float in text 0.0.4, and the end of the line.
#[inline]
pub(super) fn text_value(out: &mut Vec<u8>, value: f64) {
    write_number::text_float_line(out, value);
}
