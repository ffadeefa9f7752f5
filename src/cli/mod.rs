//! The command line: flags made from the keys of the default file, and the commands that need no
//! server.
//!
//! [`parse`] only reads words, so it can be tested without a process; [`run`] does what they say and
//! writes to the streams it is given. Wrong usage and invalid configuration end with [`EXIT_USAGE`],
//! before any port is bound.

mod check;
mod client;
mod client_flags;
mod flags;
mod healthcheck;
mod help;
mod import;
mod inspect;
mod push;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{Write, stdin};
use std::path::PathBuf;

use lexopt::Arg;

use crate::config::{
    Config, FILE_VARIABLE, Key, KeyKind, Sources, UsersFile, WebFile, describe, is_like_ours,
    nearest, schema,
};

pub use check::CheckJob;
pub use client::{ClientError, Url};
use flags::Given;
pub use healthcheck::{HealthError, Target, check, target};
pub use help::{long_help, short_help};
pub use import::{AskError, Origin, Running};
pub use push::PushJob;

/// `EX_USAGE` of sysexits.h: the command was used incorrectly.
pub const EXIT_USAGE: u8 = 64;
/// The command has failed.
pub const EXIT_FAILURE: u8 = 1;
/// `EX_TEMPFAIL` of sysexits.h: a later attempt may succeed.
pub const EXIT_TEMPORARY: u8 = 75;

/// What the command line asks for.
#[derive(Clone, Debug)]
pub enum Command {
    /// A task for which the configuration is needed.
    Configured(Sources, Task),
    Push(Box<PushJob>),
    Check(Box<CheckJob>),
    /// Nothing but this text.
    Print(String),
}

#[derive(Clone, Debug)]
pub enum Task {
    Serve,
    CheckConfig,
    PrintConfig,
    /// Of this path or URL, or of the default path.
    Healthcheck(Option<String>),
    /// Import the groups of an old Pushgateway.
    Import(Origin),
    Store(StoreAction),
}

/// What to do with a store while no gateway runs on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreAction {
    /// The store in this directory, or the configured one.
    Check(Option<PathBuf>),
    Export(ExportFormat),
    Import(PathBuf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    Text,
    Protobuf,
}

/// What is left for the caller of [`run`] to do.
#[derive(Debug)]
pub enum Outcome {
    /// The sources are for reading the configuration again.
    Serve(Box<Config>, Sources),
    Import(Box<Config>, Origin),
    Store(Box<Config>, StoreAction),
    Exit(u8),
}

/// Why a command line cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    #[error("unknown flag {flag}{}", did_you_mean(nearest))]
    UnknownFlag { flag: String, nearest: Option<String> },
    #[error("unknown flag -{0}; flags with long names begin with two dashes")]
    UnknownLetter(char),
    #[error("unknown command {command:?}{}", did_you_mean(nearest))]
    UnknownCommand { command: String, nearest: Option<String> },
    #[error("{flag} needs a value: {flag}={placeholder}")]
    NoValue { flag: String, placeholder: &'static str },
    #[error(
        "import needs the persistence file of a Pushgateway, or its URL: tallygate import FILE, or \
         --from=URL"
    )]
    NoFile,
    #[error("{flag} is of use only with import --from=URL")]
    OnlyFrom { flag: &'static str },
    #[error("{flag} takes no value")]
    NeedlessValue { flag: String },
    #[error("{flag} is given twice")]
    Twice { flag: String },
    #[error("{0:?} is one argument too many")]
    TooMany(String),
    #[error("{flag} stands for rules, which are a list: they can only be given in the file")]
    Rules { flag: String },
    #[error("{0} is not UTF-8")]
    NotUtf8(String),
    #[error("{flag}={value}: {reason}")]
    BadValue { flag: String, value: String, reason: String },
    #[error("where to? Give the URL of the gateway, such as http://localhost:9091")]
    NoUrl,
    #[error("{0}")]
    Url(String),
    #[error("a user with a password and a token are given; use one of them")]
    TwoCredentials,
    #[error("{0} has flags of its own, which follow it: tallygate {0} --help")]
    NotFirst(String),
    #[error("store needs to be told what to do: check, export or import FILE")]
    NoAction,
    #[error("store export writes text or protobuf, not {0:?}")]
    ExportFormat(String),
}

/// Commands, and what `--help` says about them.
const COMMANDS: [(&str, &str); 11] = [
    ("serve", "Take pushes and answer scrapes. This is the default command."),
    (
        "check-config [FILE]",
        "List everything that is wrong with the configuration, or say that it is fine. Takes the \
         same flags as serve.",
    ),
    (
        "print-config",
        "Print the configuration that results from all layers, without secrets, and where each \
         value that is not a default comes from.",
    ),
    (
        "healthcheck [PATH|URL]",
        "Ask the gateway that runs with this configuration for /-/healthy, or for the given path or \
         URL. Exits with 0 if the answer is 200, or 401 from a gateway that asks for credentials, \
         and with 1 otherwise.",
    ),
    (
        "push URL [FILE...]",
        "Push the content of files or of standard input. It is counted once, however often it has \
         to be retried. See tallygate push --help.",
    ),
    (
        "check [FILE...|URL]",
        "Check whether files can be pushed, or whether the gateway at a URL works from push to \
         scrape. See tallygate check --help.",
    ),
    (
        "import FILE|--from=URL",
        "Take over the groups of an old Pushgateway, from its persistence file or while it runs, \
         into the store of this configuration, which must not have groups yet. Takes the same \
         flags as serve, and some more: see tallygate import --help.",
    ),
    (
        "store check [PATH]",
        "Read a whole store and report whether it is intact. Without PATH it is the one at \
         store.path. For this and the next two commands, no gateway may be running on the store.",
    ),
    (
        "store export [text|protobuf]",
        "Write all series of the store to standard output, as an exposition. Totals are rounded to \
         doubles.",
    ),
    ("store import FILE", "Add an exposition to the store, as one push: all of it or nothing."),
    ("help", "Print this page."),
];

const FILE_FLAG: &str = "--config.file";
const VERSION: &str = concat!("tallygate ", env!("CARGO_PKG_VERSION"), "\n");

/// Reads the arguments, without the name of the program, and the environment.
///
/// # Errors
/// For the first argument that makes no sense.
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Command, UsageError> {
    let ours = |(name, _): &(OsString, OsString)| name.to_str().is_some_and(is_like_ours);
    let environment: Vec<_> = environment.into_iter().filter(ours).collect();
    let mut args = args.into_iter().peekable();
    match args.peek().and_then(|first| first.to_str()) {
        Some("push") => {
            let job = PushJob::read(args.skip(1), &in_utf8(&environment))?;
            return Ok(match job {
                Some(job) => Command::Push(Box::new(job)),
                None => Command::Print(push::PAGE.text()),
            });
        }
        Some("check") => {
            let job = CheckJob::read(args.skip(1), &in_utf8(&environment))?;
            return Ok(match job {
                Some(job) => Command::Check(Box::new(job)),
                None => Command::Print(check::PAGE.text()),
            });
        }
        _ => {}
    }
    let mut sources = Sources { environment, ..Sources::default() };
    let mut words: Vec<String> = Vec::new();
    let mut given = Given::default();
    let mut parser = lexopt::Parser::from_args(args);
    loop {
        let flag = match parser.next() {
            Ok(None) => break,
            Ok(Some(Arg::Short('h'))) => return Ok(Command::Print(short_help())),
            Ok(Some(Arg::Long("help"))) => {
                let import = words.first().is_some_and(|word| word == "import");
                let text = if import { import::PAGE.text() } else { long_help() };
                return Ok(Command::Print(text));
            }
            Ok(Some(Arg::Short('V') | Arg::Long("version"))) => {
                return Ok(Command::Print(VERSION.to_owned()));
            }
            Ok(Some(Arg::Value(word))) => {
                words.push(utf8(word, "an argument")?);
                continue;
            }
            Ok(Some(Arg::Short(letter))) => return Err(UsageError::UnknownLetter(letter)),
            Ok(Some(Arg::Long(name))) => format!("--{name}"),
            Err(error) => return Err(UsageError::NotUtf8(error.to_string())),
        };
        if flag == FILE_FLAG {
            let missing = || UsageError::NoValue { flag: flag.clone(), placeholder: "FILE" };
            let path = parser.value().map_err(|_| missing())?;
            if sources.file.replace(PathBuf::from(path)).is_some() {
                return Err(UsageError::Twice { flag });
            }
        } else if let Some(flag) = import::PAGE.flags.iter().find(|known| known.name == flag) {
            given.take(flag, &mut parser)?;
        } else {
            let (key, value) = setting(&flag, &mut parser)?;
            let again = sources.flags.iter().any(|(name, _)| *name == key.name);
            if again && key.kind != KeyKind::List {
                return Err(UsageError::Twice { flag });
            }
            sources.flags.push((key.name, value));
        }
    }
    command(words, sources, &given)
}

/// The key that a flag sets, and its value.
fn setting(flag: &str, parser: &mut lexopt::Parser) -> Result<(&'static Key, String), UsageError> {
    let find = |flag: &str| schema().keys().find(|key| key.flag() == flag);
    if let Some(key) = find(flag) {
        let value = match key.kind {
            KeyKind::Rules => return Err(UsageError::Rules { flag: flag.to_owned() }),
            KeyKind::Switch => parser.optional_value().unwrap_or_else(|| "true".into()),
            KeyKind::Scalar | KeyKind::List => parser.value().map_err(|_| UsageError::NoValue {
                flag: flag.to_owned(),
                placeholder: placeholder(key),
            })?,
        };
        return Ok((key, utf8(value, flag)?));
    }
    let switch = flag.strip_prefix("--no-").and_then(|name| find(&format!("--{name}")));
    match switch {
        Some(key) if key.kind == KeyKind::Switch => match parser.optional_value() {
            Some(_) => Err(UsageError::NeedlessValue { flag: flag.to_owned() }),
            None => Ok((key, "false".to_owned())),
        },
        _ => Err(unknown_flag(flag)),
    }
}

fn placeholder(key: &Key) -> &'static str {
    let sections = describe().unwrap_or_default();
    let mut keys = sections.iter().flat_map(|section| &section.keys);
    keys.find(|described| described.key.name == key.name).map_or("VALUE", |key| key.placeholder)
}

/// `given` are the flags that are not keys.
fn command(words: Vec<String>, mut sources: Sources, given: &Given) -> Result<Command, UsageError> {
    let mut words = words.into_iter();
    let name = words.next();
    let name = name.as_deref().unwrap_or("serve");
    if let Some(flag) = given.first()
        && name != "import"
    {
        return Err(UsageError::OnlyFrom { flag });
    }
    let task = match name {
        "serve" => Task::Serve,
        "check-config" => {
            if let Some(file) = words.next()
                && sources.file.replace(PathBuf::from(file)).is_some()
            {
                return Err(UsageError::Twice { flag: FILE_FLAG.to_owned() });
            }
            Task::CheckConfig
        }
        "print-config" => Task::PrintConfig,
        "healthcheck" => Task::Healthcheck(words.next()),
        "import" => {
            Task::Import(Origin::read(words.next(), given, &in_utf8(&sources.environment))?)
        }
        "store" => Task::Store(StoreAction::read(&mut words)?),
        "push" | "check" => return Err(UsageError::NotFirst(name.to_owned())),
        "help" => return Ok(Command::Print(long_help())),
        "version" => return Ok(Command::Print(VERSION.to_owned())),
        other => {
            let names = COMMANDS.iter().filter_map(|(usage, _)| usage.split(' ').next());
            return Err(UsageError::UnknownCommand {
                command: other.to_owned(),
                nearest: nearest(other, names).map(str::to_owned),
            });
        }
    };
    if let Some(word) = words.next() {
        return Err(UsageError::TooMany(word));
    }
    if sources.file.is_none() {
        let named = sources.environment.iter().find(|(name, _)| name == FILE_VARIABLE);
        let named = named.map(|(_, path)| path).filter(|path| !path.is_empty());
        sources.file = named.map(PathBuf::from);
    }
    Ok(Command::Configured(sources, task))
}

impl StoreAction {
    /// Reads the words that follow `store`.
    fn read(words: &mut impl Iterator<Item = String>) -> Result<StoreAction, UsageError> {
        let (action, operand) = (words.next(), words.next());
        match (action.as_deref(), operand) {
            (Some("check"), path) => Ok(StoreAction::Check(path.map(PathBuf::from))),
            (Some("export"), None) => Ok(StoreAction::Export(ExportFormat::Text)),
            (Some("export"), Some(format)) => match &*format {
                "text" => Ok(StoreAction::Export(ExportFormat::Text)),
                "protobuf" => Ok(StoreAction::Export(ExportFormat::Protobuf)),
                _ => Err(UsageError::ExportFormat(format)),
            },
            (Some("import"), Some(file)) => Ok(StoreAction::Import(file.into())),
            _ => Err(UsageError::NoAction),
        }
    }
}

/// Variables that are not UTF-8 are left out.
fn in_utf8(environment: &[(OsString, OsString)]) -> Vec<(String, String)> {
    let pair = |(name, value): &(OsString, OsString)| {
        Some((name.to_str()?.to_owned(), value.to_str()?.to_owned()))
    };
    environment.iter().filter_map(pair).collect()
}

fn utf8(text: OsString, what: &str) -> Result<String, UsageError> {
    text.into_string()
        .map_err(|text| UsageError::NotUtf8(format!("{what} ({})", text.to_string_lossy())))
}

fn unknown_flag(flag: &str) -> UsageError {
    // Without the dashes, which would make all flags alike.
    let name = flag.trim_start_matches('-');
    let flags: Vec<String> = schema()
        .keys()
        .filter(|key| key.kind != KeyKind::Rules)
        .map(Key::flag)
        .chain(["--help", "--version", FILE_FLAG].map(str::to_owned))
        .collect();
    let nearest = nearest(name, flags.iter().map(|flag| flag.trim_start_matches('-')));
    let nearest = nearest.map(|name| format!("--{name}"));
    UsageError::UnknownFlag { flag: flag.to_owned(), nearest }
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or(String::new(), |nearest| format!("; did you mean {nearest}?"))
}

/// Does what the command line says, except what needs the `app`. Results go to `out`, complaints to
/// `err`.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    out: &mut impl Write,
    err: &mut impl Write,
) -> Outcome {
    let (sources, task) = match parse(args, environment) {
        Ok(Command::Configured(sources, task)) => (sources, task),
        Ok(Command::Push(job)) => return Outcome::Exit(job.run(&mut stdin(), out, err)),
        Ok(Command::Check(job)) => return Outcome::Exit(job.run(&mut stdin(), out, err)),
        Ok(Command::Print(text)) => {
            say(out, &text);
            return Outcome::Exit(0);
        }
        Err(error) => {
            say(err, &format!("tallygate: {error}\nTry tallygate --help.\n"));
            return Outcome::Exit(EXIT_USAGE);
        }
    };
    let config = match sources.load() {
        Ok(config) => Box::new(config),
        Err(errors) => return bad_config(&errors.0, err),
    };
    match task {
        Task::Serve => Outcome::Serve(config, sources),
        Task::Import(origin) => Outcome::Import(config, origin),
        Task::Store(action) => Outcome::Store(config, action),
        Task::Healthcheck(asked) => healthcheck(&config, asked.as_deref(), out, err),
        Task::CheckConfig => {
            let problems = other_files(&config);
            if !problems.is_empty() {
                return bad_config(&problems, err);
            }
            say(out, &summary(&config));
            Outcome::Exit(0)
        }
        Task::PrintConfig => {
            say(out, &config.to_yaml());
            Outcome::Exit(0)
        }
    }
}

fn healthcheck(
    config: &Config,
    asked: Option<&str>,
    out: &mut impl Write,
    err: &mut impl Write,
) -> Outcome {
    let target = match target(config, asked) {
        Ok(target) => target,
        Err(error) => {
            say(err, &format!("tallygate: {error}\n"));
            return Outcome::Exit(EXIT_USAGE);
        }
    };
    match check(&target) {
        Ok(status) => {
            say(out, &format!("ok: {target} answers {status}\n"));
            Outcome::Exit(0)
        }
        Err(error) => {
            say(err, &format!("tallygate: {target}: {error}\n"));
            Outcome::Exit(EXIT_FAILURE)
        }
    }
}

/// What is wrong with the files that the configuration names. Certificates are only checked when the
/// gateway starts.
fn other_files(config: &Config) -> Vec<String> {
    let web = config.web.config_file.as_deref().map(|path| WebFile::load(path).err());
    let users = config.auth.file.as_deref().map(|path| UsersFile::load(path).err());
    let errors = [web, users].into_iter().flatten().flatten();
    errors
        .flat_map(|error| error.to_string().lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

fn bad_config(problems: &[impl Display], err: &mut impl Write) -> Outcome {
    let mut text = "tallygate: the configuration cannot be used:\n".to_owned();
    for problem in problems {
        text.push_str(&format!("  {problem}\n"));
    }
    say(err, &text);
    Outcome::Exit(EXIT_USAGE)
}

/// The report of `check-config` when all is well.
fn summary(config: &Config) -> String {
    let listen: Vec<&str> = config.web.listen_address.iter().map(|a| a.as_str()).collect();
    let mut text = format!("ok: listens on {}", listen.join(", "));
    if let Some(management) = &config.web.management_address {
        text.push_str(&format!(", management on {}", management.as_str()));
    }
    text.push_str(&format!(", {} rules\n", config.rules.len()));
    let settings = config.settings();
    for (key, origin) in config.changed_keys() {
        match settings.iter().find(|(name, _)| *name == key) {
            Some((_, value)) => text.push_str(&format!("  {key} = {value} ({origin})\n")),
            None => text.push_str(&format!("  {key} ({origin})\n")),
        }
    }
    for warning in config.warnings() {
        text.push_str(&format!("warning: {warning}\n"));
    }
    text
}

fn say(stream: &mut impl Write, text: &str) {
    // If the reader has gone, as in `tallygate --help | head`, there is nobody to tell.
    let _reader_gone = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
}

#[cfg(test)]
mod tests;
