//! The grouping key in the path of a push: `/<label>/<value>…` behind `/metrics` (clients R4).
//!
//! The raw path is split first, and then each part is percent-decoded once, so `%2F` stays inside its
//! value; `+` is a plus. A label name may end in `@base64`; its value is then base64, URL-safe or
//! standard, padded or not, and `=` alone is empty. It may begin with `U__`, the escaping that older
//! clients use for UTF-8 names. A trailing slash means nothing after a pair, and an empty value after a
//! name. No label is required.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::mem;
use std::sync::Arc;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use foldhash::fast::RandomState;

use crate::model::{Grouping, LabelError};

/// Why a path names no grouping key (400).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("the path has a label name without a value: {0:?}")]
    NoValue(String),
    #[error("the value of label {0:?} in the path is not base64")]
    Base64(String),
    #[error("{0} in the path is not UTF-8")]
    Utf8(String),
    #[error("path: {0}")]
    Label(#[from] LabelError),
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// Paths of one generation that a worker remembers.
const REMEMBERED: usize = 4096;
/// Longer paths are not worth the memory.
const REMEMBERED_BYTES: usize = 512;

thread_local! {
    static PATHS: RefCell<Paths> = RefCell::default();
}

/// Paths that have come at least twice of late. Many never come again, like those of jobs that run once.
///
/// There are two generations. When the young one is full it becomes the old one, and what nobody has
/// used since the last time goes.
#[derive(Default)]
struct Paths {
    young: HashMap<Box<str>, Arc<Grouping>, RandomState>,
    old: HashMap<Box<str>, Arc<Grouping>, RandomState>,
    /// Hashes of paths that came once.
    seen: HashSet<u64, RandomState>,
}

impl Paths {
    fn get(&mut self, path: &str) -> Option<Arc<Grouping>> {
        if let Some(grouping) = self.young.get(path) {
            return Some(grouping.clone());
        }
        let (path, grouping) = self.old.remove_entry(path)?;
        self.insert(path, grouping.clone());
        Some(grouping)
    }

    fn insert(&mut self, path: Box<str>, grouping: Arc<Grouping>) {
        if self.young.len() >= REMEMBERED {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(path, grouping);
    }

    /// False the first time.
    fn comes_again(&mut self, path: &str) -> bool {
        if self.seen.len() >= REMEMBERED {
            self.seen.clear();
        }
        !self.seen.insert(self.seen.hasher().hash_one(path))
    }
}

/// As [`parse`], but remembers what it has parsed: the same programs push again and again. A key that
/// is remembered has a [number](Grouping::number).
///
/// # Errors
/// As [`parse`].
pub fn parse_again(path: &str) -> Result<Arc<Grouping>, PathError> {
    PATHS.with_borrow_mut(|paths| {
        if let Some(known) = paths.get(path) {
            return Ok(known);
        }
        let grouping = parse(path)?;
        if path.len() > REMEMBERED_BYTES || !paths.comes_again(path) {
            return Ok(Arc::new(grouping));
        }
        let grouping = Arc::new(grouping.numbered());
        paths.insert(path.into(), grouping.clone());
        Ok(grouping)
    })
}

/// `path` is what follows `/metrics`, still encoded.
pub fn parse(path: &str) -> Result<Grouping, PathError> {
    let mut parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    if parts.len() % 2 == 1 && parts.last() == Some(&"") {
        parts.pop();
    }
    let mut pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::with_capacity(parts.len() / 2);
    for pair in parts.chunks(2) {
        let name = decode(pair[0]).map_err(|()| PathError::Utf8("a label name".into()))?;
        let [_, value] = pair else {
            return Err(PathError::NoValue(name.into_owned()));
        };
        let (name, base64) = match name.strip_suffix("@base64") {
            Some(stem) => (Cow::Owned(stem.to_owned()), true),
            None => (name, false),
        };
        let name = unescape_name(&name).map_or(name, Cow::Owned);
        let value =
            decode(value).map_err(|()| PathError::Utf8(format!("the value of {name:?}")))?;
        let value = if base64 { Cow::Owned(decode_base64(&name, &value)?) } else { value };
        // A first pair `job` stands for the classic `/metrics/job/<job>`, which wins.
        if !(name == "job" && pairs.first().is_some_and(|(first, _)| first == "job")) {
            pairs.push((name, value));
        }
    }
    Ok(Grouping::new(pairs)?)
}

fn decode_base64(name: &str, value: &str) -> Result<String, PathError> {
    let digits: Vec<u8> = value
        .trim_end_matches('=')
        .bytes()
        .filter(|b| !matches!(b, b'\r' | b'\n'))
        .map(|b| match b {
            b'-' => b'+',
            b'_' => b'/',
            b => b,
        })
        .collect();
    let bytes = BASE64.decode(digits).map_err(|_| PathError::Base64(name.to_owned()))?;
    String::from_utf8(bytes).map_err(|_| PathError::Utf8(format!("the value of {name:?}")))
}

/// Percent-decodes. A `%` that does not begin an escape stands for itself.
fn decode(part: &str) -> Result<Cow<'_, str>, ()> {
    if !part.contains('%') {
        return Ok(Cow::Borrowed(part));
    }
    let mut out = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let escape = (byte == b'%').then(|| tail.get(..2).and_then(hex_byte)).flatten();
        out.push(escape.unwrap_or(byte));
        rest = if escape.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(out).map(Cow::Owned).map_err(|_| ())
}

pub(super) fn hex_byte(digits: &[u8]) -> Option<u8> {
    let digit = |b: u8| (b as char).to_digit(16);
    let [high, low] = digits else { return None };
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

/// Undoes the `values` escaping (pushgateway-contract 2, "UTF-8 label names"): `__` is `_`, and
/// `_<1 to 6 hex digits>_` is a character. `None` if the name is not escaped in this way, and stands for
/// itself.
pub(super) fn unescape_name(name: &str) -> Option<String> {
    let mut rest = name.strip_prefix("U__").filter(|rest| !rest.is_empty())?;
    let mut out = String::new();
    while let Some(at) = rest.find('_') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('_') {
            out.push('_');
            rest = after;
            continue;
        }
        let (digits, after) = rest.split_once('_')?;
        let valid =
            (1..=6).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let code = valid.then(|| u32::from_str_radix(digits, 16).ok())??;
        out.push(char::from_u32(code)?);
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn accept(path: &str, key: &str) {
        assert_eq!(
            parse(path).map(|grouping| grouping.key().to_owned()).as_deref(),
            Ok(key),
            "{path}"
        );
    }

    #[test]
    fn every_path_that_comes_twice_is_remembered() {
        let of = |at: u32| parse_again(&format!("/job/j/instance/{at}")).unwrap();
        (0..2).for_each(|_| (0..1000).for_each(|at| _ = of(at)));
        let again = (0..1000).map(|at| Arc::ptr_eq(&of(at), &of(at))).filter(|same| *same);
        assert_eq!(again.count(), 1000);
    }

    #[test]
    fn a_path_in_use_is_remembered_however_many_others_come() {
        let number = |path: &str| parse_again(path).unwrap().number();
        (0..2).for_each(|_| _ = number("/job/regular"));
        let regular = number("/job/regular");
        assert!(regular.is_some());
        for at in 0..5 * REMEMBERED {
            (0..2).for_each(|_| _ = number(&format!("/job/other/at/{at}")));
            if at % 1000 == 0 {
                assert_eq!(number("/job/regular"), regular, "{at}");
            }
        }
        PATHS.with_borrow(|paths| {
            let size = (paths.young.len(), paths.old.len(), paths.seen.len());
            assert!(size.0.max(size.1).max(size.2) <= REMEMBERED, "{size:?}");
        });
    }

    #[test]
    fn what_is_remembered_has_a_number_and_nothing_else() {
        let numbers = |path: &str| [0; 4].map(|_| parse_again(path).unwrap().number());
        let [first, second, third, fourth] = numbers("/job/numbered");
        assert_eq!(first, None);
        assert!(second.is_some() && second == third && third == fourth);
        assert_eq!(numbers(&format!("/job/{}", "x".repeat(REMEMBERED_BYTES))), [None; 4]);
    }

    #[test]
    fn accepted() {
        for path in ["", "/", "//"] {
            accept(path, "");
        }
        for path in ["/job/j", "/job/j/", "//job/j", "/job@base64/ag==", "/job%40base64/ag"] {
            accept(path, r#"job="j""#);
        }
        accept("/job/j/a/1/b/2", r#"a="1",b="2",job="j""#);
        accept("/b/2/job/j/a/1/", r#"a="1",b="2",job="j""#);
        accept("/team/x", r#"team="x""#);
        // An empty value is as good as no label.
        accept("/job/j/a/", r#"job="j""#);
        accept("/job/j/a//b/2", r#"b="2",job="j""#);
        accept("/job/j/a@base64/=", r#"job="j""#);
        accept("/job/j/a@base64/", r#"job="j""#);
        // Of two, the last one counts, but the job in front stays.
        accept("/job/j/a/1/a/2", r#"a="2",job="j""#);
        accept("/job/j/job/k", r#"job="j""#);
    }

    #[test]
    fn accepted_escapes() {
        accept("/p/%2Fa%2Fb", r#"p="/a/b""#);
        accept("/p/a%20b+c", r#"p="a b+c""#);
        accept("/p/100%", r#"p="100%""#);
        accept("/p/%zz%2", r#"p="%zz%2""#);
        accept("/p/%22%5C%0A", r#"p="\"\\\n""#);
        accept("/p/:;,=@!~*'()$", r#"p=":;,=@!~*'()$""#);
        for value in ["L2EvYg==", "L2EvYg", "L2EvYg====", "L2Ev%0D%0AYg"] {
            accept(&format!("/p@base64/{value}"), r#"p="/a/b""#);
        }
    }

    #[test]
    fn both_base64_alphabets() {
        // "~~?" and "~~>" need the last two digits of the alphabet.
        for (value, key) in [
            ("fn4_", r#"p="~~?""#),
            ("fn4%2F", r#"p="~~?""#),
            ("fn4-", r#"p="~~>""#),
            ("fn4+", r#"p="~~>""#),
        ] {
            accept(&format!("/p@base64/{value}"), key);
        }
        // Unused low bits do not matter.
        accept("/p@base64/YR", r#"p="a""#);
    }

    #[test]
    fn escaped_names() {
        for name in ["U__a_2e_b", "U__a_2E_b", "U__a_002e_b"] {
            accept(&format!("/{name}/1"), r#""a.b"="1""#);
        }
        accept("/U__a__b/1", r#"a_b="1""#);
        accept("/U___55_____foo__2e__bar/1", r#"U__foo_2e_bar="1""#);
        accept("/U__a_2e_b@base64/YQ", r#""a.b"="a""#);
        accept("/a.b/1", r#""a.b"="1""#);
        for name in ["U__a_b", "U__a_0000002e_b", "U__a_d800_b", "U__a_x_b"] {
            accept(&format!("/{name}/1"), &format!("{name}=\"1\""));
        }
    }

    #[test]
    fn rejected() {
        let label = |error| PathError::Label(error);
        for (path, error) in [
            ("/job", PathError::NoValue("job".into())),
            ("/job/j/a", PathError::NoValue("a".into())),
            ("/job/j//k/v", PathError::NoValue("v".into())),
            ("/p@base64/!", PathError::Base64("p".into())),
            ("/p@base64/abcde", PathError::Base64("p".into())),
            ("/p/%FF", PathError::Utf8("the value of \"p\"".into())),
            ("/p@base64/_w", PathError::Utf8("the value of \"p\"".into())),
            ("/%FF/x", PathError::Utf8("a label name".into())),
            ("/@base64/eA", label(LabelError::EmptyName)),
            ("/__x/1", label(LabelError::Reserved("__x".into()))),
        ] {
            assert_eq!(parse(path), Err(error), "{path}");
        }
    }
}
