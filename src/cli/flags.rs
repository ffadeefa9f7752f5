//! Flags of the commands that have flags of their own instead of configuration keys. One table both
//! reads them and explains them in `tallygate COMMAND --help`.

use std::ffi::OsString;
use std::fmt::Write as _;

use lexopt::Arg;

use super::help::wrap;
use super::{UsageError, did_you_mean, utf8};
use crate::config::nearest;

/// One flag.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flag {
    /// With its dashes.
    pub(super) name: &'static str,
    /// Empty if it takes no value.
    pub(super) placeholder: &'static str,
    pub(super) repeated: bool,
    pub(super) help: &'static str,
}

/// A command as its help describes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    pub(super) usage: &'static str,
    pub(super) about: &'static str,
    pub(super) flags: &'static [Flag],
    pub(super) more: &'static str,
}

/// What follows the name of a command.
#[derive(Debug, Default)]
pub(super) struct Given {
    flags: Vec<(&'static str, String)>,
    pub(super) words: Vec<String>,
}

impl Given {
    /// `None` if help is asked for.
    ///
    /// # Errors
    /// For the first argument that makes no sense.
    pub(super) fn read(
        args: impl IntoIterator<Item = OsString>,
        page: &Page,
    ) -> Result<Option<Given>, UsageError> {
        let mut given = Given::default();
        let mut parser = lexopt::Parser::from_args(args);
        loop {
            let name = match parser.next() {
                Ok(None) => return Ok(Some(given)),
                Ok(Some(Arg::Short('h') | Arg::Long("help"))) => return Ok(None),
                Ok(Some(Arg::Value(word))) => {
                    given.words.push(utf8(word, "an argument")?);
                    continue;
                }
                Ok(Some(Arg::Short(letter))) => return Err(UsageError::UnknownLetter(letter)),
                Ok(Some(Arg::Long(name))) => format!("--{name}"),
                Err(error) => return Err(UsageError::NotUtf8(error.to_string())),
            };
            let Some(flag) = page.flags.iter().find(|flag| flag.name == name) else {
                let names = page.flags.iter().map(|flag| flag.name);
                let nearest = nearest(&name, names).map(str::to_owned);
                return Err(UsageError::UnknownFlag { flag: name, nearest });
            };
            given.take(flag, &mut parser)?;
        }
    }

    /// Reads the value of a flag whose name has just been read.
    pub(super) fn take(
        &mut self,
        flag: &Flag,
        parser: &mut lexopt::Parser,
    ) -> Result<(), UsageError> {
        let name = flag.name.to_owned();
        let value = match flag.placeholder {
            "" if parser.optional_value().is_some() => {
                return Err(UsageError::NeedlessValue { flag: name });
            }
            "" => String::new(),
            placeholder => match parser.value() {
                Ok(value) => utf8(value, &name)?,
                Err(_) => return Err(UsageError::NoValue { flag: name, placeholder }),
            },
        };
        if self.has(flag.name) && !flag.repeated {
            return Err(UsageError::Twice { flag: name });
        }
        self.flags.push((flag.name, value));
        Ok(())
    }

    /// The first flag, if any was given.
    pub(super) fn first(&self) -> Option<&'static str> {
        self.flags.first().map(|(name, _)| *name)
    }

    pub(super) fn has(&self, flag: &str) -> bool {
        self.get(flag).is_some()
    }

    pub(super) fn get(&self, flag: &str) -> Option<&str> {
        self.all(flag).next()
    }

    pub(super) fn all(&self, flag: &str) -> impl Iterator<Item = &str> {
        self.flags.iter().filter(move |(name, _)| *name == flag).map(|(_, value)| &**value)
    }

    /// The value of a flag, if it was given.
    pub(super) fn parsed<T, E: std::fmt::Display>(
        &self,
        flag: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, UsageError> {
        let Some(value) = self.get(flag) else { return Ok(None) };
        parse(value).map(Some).map_err(|reason| bad_value(flag, value, reason))
    }
}

pub(super) fn bad_value(flag: &str, value: &str, reason: impl std::fmt::Display) -> UsageError {
    let (flag, value, reason) = (flag.to_owned(), value.to_owned(), reason.to_string());
    UsageError::BadValue { flag, value, reason }
}

impl Page {
    pub(super) fn text(&self) -> String {
        let mut text = format!("{}\n\nUsage: tallygate {}\n\nFlags:\n", self.about, self.usage);
        for flag in self.flags {
            let _infallible = match flag.placeholder {
                "" => writeln!(text, "  {}", flag.name),
                placeholder => writeln!(text, "  {}={placeholder}", flag.name),
            };
            wrap(&mut text, flag.help, 6);
        }
        let _infallible = write!(text, "\n{}\n", self.more);
        text
    }
}

/// For flags that accept only a few words.
pub(super) fn one_of<'w>(word: &str, words: &[&'w str]) -> Result<&'w str, String> {
    let found = words.iter().find(|known| **known == word);
    found.copied().ok_or_else(|| {
        let nearest = nearest(word, words.iter().copied()).map(str::to_owned);
        format!("accepted are {}{}", words.join(", "), did_you_mean(&nearest))
    })
}
