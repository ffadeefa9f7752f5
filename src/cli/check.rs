//! `tallygate check`: whether files can be pushed, or whether a running gateway works from push to
//! scrape.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use super::client::{Answer, Ask, Client, ClientError, ClientOptions, Url};
use super::client_flags::{
    BASIC_AUTH, BEARER_TOKEN, CA_FILE, FORMAT, bare_url, client_options, format_of, timeout,
    timeout_flag,
};
use super::flags::{Given, Page};
use super::inspect::{self, Check};
use super::push::target;
use super::{EXIT_FAILURE, UsageError, say};
use crate::clock;
use crate::format::Timestamps;
use crate::format::negotiate::PushFormat;
use crate::model::Grouping;
use crate::random;

pub(super) const PAGE: Page = Page {
    usage: "check [FLAGS] [FILE...|URL]",
    about: "\
Checks whether the content of files, or of standard input, can be pushed. Given
the URL of a gateway, it pushes a series of its own there, twice with one key,
scrapes it, and deletes it.",
    flags: &[
        FORMAT,
        timeout_flag("How long each request may take; 10s if not given."),
        BASIC_AUTH,
        BEARER_TOKEN,
        CA_FILE,
    ],
    more: "\
Exit status:
  0   all is well
  1   something is wrong, as the messages say
  64  wrong usage

Examples:
  tallygate check metrics.prom
  tallygate check http://localhost:9091",
};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const PROBE: &str = "gateway_check_pushes_total";

/// What `tallygate check` was asked to do.
#[derive(Clone, Debug)]
pub enum CheckJob {
    Files { files: Vec<PathBuf>, format: Option<PushFormat> },
    Gateway { url: Url, timeout: Duration, client: ClientOptions },
}

/// What is wrong with a gateway.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{doing}: {error}")]
    NoAnswer { doing: &'static str, error: ClientError },
    #[error("{doing}: it answers {answer}")]
    Answer { doing: &'static str, answer: String },
    #[error("scrape: what was pushed is not there")]
    NotShown,
    #[error("scrape: what was pushed once, with a retry, shows as {0}")]
    Value(String),
}

impl CheckJob {
    /// `None` if help is asked for.
    ///
    /// # Errors
    /// For the first argument that makes no sense.
    pub(super) fn read(
        args: impl IntoIterator<Item = OsString>,
        environment: &[(String, String)],
    ) -> Result<Option<CheckJob>, UsageError> {
        let Some(given) = Given::read(args, &PAGE)? else { return Ok(None) };
        let is_url = |word: &&String| word.starts_with("http://") || word.starts_with("https://");
        Ok(Some(match given.words.iter().find(is_url) {
            Some(url) => {
                if let Some(other) = given.words.iter().find(|word| *word != url) {
                    return Err(UsageError::TooMany(other.clone()));
                }
                CheckJob::Gateway {
                    url: bare_url(url)?,
                    timeout: timeout(&given)?.unwrap_or(DEFAULT_TIMEOUT),
                    client: client_options(&given, environment)?,
                }
            }
            None => CheckJob::Files {
                files: given.words.iter().map(PathBuf::from).collect(),
                format: format_of(&given)?,
            },
        }))
    }

    /// The exit code.
    pub(super) fn run(
        &self,
        input: &mut dyn Read,
        out: &mut impl Write,
        err: &mut impl Write,
    ) -> u8 {
        match self {
            CheckJob::Files { files, format } => check_files(files, *format, input, out, err),
            CheckJob::Gateway { url, timeout, client } => {
                match check_gateway(url, *timeout, client) {
                    Ok(told) => {
                        say(out, &format!("ok: {url} {told}\n"));
                        0
                    }
                    Err(fault) => {
                        say(err, &format!("tallygate: {url}: {fault}\n"));
                        EXIT_FAILURE
                    }
                }
            }
        }
    }
}

fn check_files(
    files: &[PathBuf],
    format: Option<PushFormat>,
    input: &mut dyn Read,
    out: &mut impl Write,
    err: &mut impl Write,
) -> u8 {
    let grouping = Grouping::default();
    let check = Check { grouping: &grouping, format, merge: None, timestamps: Timestamps::Reject };
    let inputs = match inspect::read_each(files, input, format) {
        Ok(inputs) => inputs,
        Err(error) => {
            say(err, &format!("tallygate: {error}\n"));
            return EXIT_FAILURE;
        }
    };
    let mut code = 0;
    for (name, input) in &inputs {
        match check.run(name, input) {
            Ok(pushed) => {
                let (samples, series) = (pushed.samples, pushed.series);
                say(out, &format!("ok: {name}: {samples} samples, {series} series\n"));
            }
            Err(error) => {
                say(err, &format!("tallygate: {error}\n"));
                code = EXIT_FAILURE;
            }
        }
    }
    code
}

/// A description of what the gateway can do.
fn check_gateway(url: &Url, timeout: Duration, options: &ClientOptions) -> Result<String, Fault> {
    let setting_up = |error| Fault::NoAnswer { doing: "setup", error };
    let client = Client::new(options).map_err(setting_up)?;
    let unique = random::uuid7(clock::unix_ms());
    let labels = [("job", "tallygate_check"), ("instance", &*unique)];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let group = target(url, &labels).map_err(setting_up)?;
    let mut scrape = target(url, &[]).map_err(setting_up)?;
    if scrape.query().is_none() {
        let selector = format!("{}?match[]=%7Binstance=%22{unique}%22%7D", scrape.path());
        scrape = scrape.with_path(&selector).map_err(setting_up)?;
    }

    let ask = |doing, method, url: &Url, body, expected: &[u16]| -> Result<Answer, Fault> {
        let key = format!("\"{unique}\"");
        let headers = [("Idempotency-Key", &*key), ("Accept", "text/plain")];
        let headers = if method == "POST" { &headers[..] } else { &headers[1..] };
        let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, (*v).to_owned())).collect();
        let answer = client.send(&Ask { method, url, headers: &headers, body, timeout });
        let answer = answer.map_err(|error| Fault::NoAnswer { doing, error })?;
        if expected.contains(&answer.status) {
            return Ok(answer);
        }
        Err(Fault::Answer { doing, answer: answer.explanation() })
    };
    let body = format!("# TYPE {PROBE} counter\n{PROBE} 1\n");
    let body = Some(body.as_bytes());
    ask("push", "POST", &group, body, &[200, 202])?;
    let again = ask("push again, with the same key", "POST", &group, body, &[200, 202])?;
    let shown = ask("scrape", "GET", &scrape, None, &[200])?;
    let value = value_of(&shown.body, &unique);
    // Before the value is judged, so that nothing is left behind.
    ask("delete", "DELETE", &group, None, &[202])?;
    match value.ok_or(Fault::NotShown)? {
        value if value.parse() == Ok(1.0) => {}
        value => return Err(Fault::Value(value)),
    }
    let left = ask("scrape after deletion", "GET", &scrape, None, &[200])?;
    let keys = if again.replayed { "knows keys" } else { "does not know keys" };
    let deletes = match value_of(&left.body, &unique) {
        None => "deletes",
        Some(_) => "does not delete (push.delete)",
    };
    Ok(format!("takes pushes, {keys}, shows them, {deletes}"))
}

/// The value of the probe in an exposition.
fn value_of(exposition: &[u8], unique: &str) -> Option<String> {
    let text = String::from_utf8_lossy(exposition);
    let mut lines = text.lines();
    let line = lines.find(|line| line.starts_with(PROBE) && line.contains(unique))?;
    line.rsplit_once("} ").map(|(_, value)| value.to_owned())
}
