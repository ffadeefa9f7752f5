//! Which family a line of the text format belongs to, and the metadata of families.

use std::borrow::Cow;

use crate::format::lex::{self, Cursor, Dialect, Excerpt, Flaw, Head, Lexed, Token};
use crate::model::{Builder, FamilyId, Kind};

/// What a sample is to its series, according to its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The value of the series itself.
    Value,
    Quantile,
    Bucket,
    Sum,
    Count,
}

/// What previous lines have shown, so that most lines need no look-up.
#[derive(Debug, Default)]
pub(super) struct Families<'a> {
    /// The last unquoted name in metadata: many lines to come begin with it.
    likely: &'a str,
    current: Option<Current<'a>>,
    last_sample: Option<Resolved<'a>>,
    /// The name of some family ends like a sample of histograms and summaries, so that `x_sum` next to
    /// a histogram `x` may be a family of its own.
    suffixed: bool,
}

/// The family of the last line that named one.
#[derive(Debug)]
struct Current<'a> {
    family: FamilyId,
    name: Cow<'a, str>,
    kind: Kind,
}

/// A sample name and what it stands for.
#[derive(Debug)]
struct Resolved<'a> {
    name: Cow<'a, str>,
    family: FamilyId,
    role: Role,
}

impl<'a> Families<'a> {
    pub(super) fn likely(&self) -> &'a str {
        self.likely
    }

    /// The family of a sample, which is created if the name is new.
    #[inline]
    pub(super) fn resolve(
        &mut self,
        builder: &mut Builder<'_>,
        head: &Head<'a>,
    ) -> Lexed<(FamilyId, Role)> {
        if let Some(last) = &self.last_sample
            && last.name == head.name
        {
            return Ok((last.family, last.role));
        }
        let (family, suffix) = self.family(builder, head.name.clone());
        let role = match suffix {
            "_bucket" => Role::Bucket,
            "_sum" => Role::Sum,
            "_count" => Role::Count,
            _ => match builder.kind(family) {
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
        self.last_sample = Some(Resolved { name: head.name.clone(), family, role });
        Ok((family, role))
    }

    /// The family that a name belongs to, and the suffix that the name adds. It becomes the current
    /// one.
    fn family(
        &mut self,
        builder: &mut Builder<'_>,
        name: Cow<'a, str>,
    ) -> (FamilyId, &'static str) {
        if let Some(current) = &self.current
            && let Some(suffix) = name.strip_prefix(&*current.name)
        {
            if suffix.is_empty() {
                return (current.family, "");
            }
            if !self.suffixed
                && let Some(suffix) = known_suffix(current.kind, suffix)
            {
                return (current.family, suffix);
            }
        }
        let suffixes = Kind::Histogram.sample_suffixes();
        if suffixes.iter().any(|suffix| name.ends_with(suffix)) {
            if let Some(family) = builder.find_family(&name) {
                self.enter(builder, family, name);
                return (family, "");
            }
            for suffix in suffixes {
                if let Some(base) = name.strip_suffix(suffix)
                    && let Some(family) = builder.find_family(base)
                    && let Some(suffix) = known_suffix(builder.kind(family), suffix)
                {
                    let bytes = base.len();
                    let base = prefix(name, bytes);
                    self.enter(builder, family, base);
                    return (family, suffix);
                }
            }
            self.suffixed = true;
        }
        let family = builder.family(&name);
        self.enter(builder, family, name);
        (family, "")
    }

    fn enter(&mut self, builder: &Builder<'_>, family: FamilyId, name: Cow<'a, str>) {
        let kind = builder.kind(family);
        self.current = Some(Current { family, name, kind });
    }
}

/// The suffix, if samples of this kind may have it.
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

impl<'a> Families<'a> {
    /// Reads a comment, at its `#`. One with nothing after the keyword or the name has no meaning
    /// (formats 3, G5).
    pub(super) fn comment(
        &mut self,
        builder: &mut Builder<'_>,
        mut cursor: Cursor<'a>,
    ) -> Lexed<()> {
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
        let (family, suffix) = self.family(builder, name.clone());
        if keyword == "TYPE" && !suffix.is_empty() {
            let owner = builder.get(family);
            let (name, kind, owner) = (Excerpt(&name), owner.kind, Excerpt(owner.name));
            return Err(Flaw::new(at, format!("{name} belongs to the {kind} {owner}")));
        }
        if keyword == "TYPE" {
            self.set_kind(builder, family, cursor.rest(), at)
        } else {
            set_help(builder, family, cursor.rest(), at)
        }
    }

    fn set_kind(
        &mut self,
        builder: &mut Builder<'_>,
        family: FamilyId,
        word: Token<'a>,
        at: usize,
    ) -> Lexed<()> {
        let known = builder.get(family);
        if known.typed {
            let name = Excerpt(known.name);
            return Err(Flaw::new(at, format!("second TYPE of metric {name}")));
        }
        if known.series > 0 {
            let name = Excerpt(known.name);
            return Err(Flaw::new(at, format!("TYPE of metric {name} comes after its samples")));
        }
        let kind = kind_of(word)?;
        builder.set_kind(family, kind);
        if let Some(current) = &mut self.current {
            current.kind = kind;
        }
        Ok(())
    }
}

fn set_help(builder: &mut Builder<'_>, family: FamilyId, text: Token<'_>, at: usize) -> Lexed<()> {
    let known = builder.get(family);
    if known.help.is_some() {
        return Err(Flaw::new(at, format!("second HELP of metric {}", Excerpt(known.name))));
    }
    builder.set_help(family, &lex::help(text)?);
    Ok(())
}

/// Ignores letter case, but not a blank after the word (formats G5).
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
