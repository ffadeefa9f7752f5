//! `tallygate push`: pushes files or standard input, and counts them once however many attempts it takes.
//!
//! The push is checked before it is sent. It carries an idempotency key, so it is safe to retry until
//! there is a clear answer or the time is up.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::client::{Answer, Ask, Client, ClientError, ClientOptions, Url};
use super::client_flags::{
    BASIC_AUTH, BEARER_TOKEN, CA_FILE, FORMAT, bare_url, client_options, format_of, timeout,
    timeout_flag,
};
use super::flags::{Flag, Given, Page, bad_value, one_of};
use super::inspect::{self, Check, Input};
use super::{EXIT_FAILURE, EXIT_TEMPORARY, UsageError, say};
use crate::clock;
use crate::config::{format_duration, parse_duration};
use crate::delivery::Key;
use crate::format::Timestamps;
use crate::format::compress::{self, Compression, Levels};
use crate::format::negotiate::PushFormat;
use crate::model::{GaugeRule, Grouping, labels};
use crate::random;

pub(super) const PAGE: Page = Page {
    usage: "push [FLAGS] URL [FILE...]",
    about: "\
Pushes the content of the files, or of standard input, to the gateway at URL.
The content is checked first. The push has a key, so that it counts once even if
it has to be retried, after broken connections or while the gateway is busy or
restarting. Nothing is printed if all goes well, as a cron job expects it.",
    flags: &[
        JOB,
        LABEL,
        FORMAT,
        Flag {
            name: "--method",
            placeholder: "POST|PUT",
            repeated: false,
            help: "POST if not given. It only matters in mode pushgateway.",
        },
        Flag {
            name: "--merge",
            placeholder: "last|sum|min|max|mean",
            repeated: false,
            help: "How the gauges of this push combine with those of others.",
        },
        Flag {
            name: "--ttl",
            placeholder: "DURATION",
            repeated: false,
            help: "Forget the series if nobody pushes them for this long, such as 36h.",
        },
        Flag {
            name: "--key",
            placeholder: "KEY",
            repeated: false,
            help: "Use this idempotency key. It is for jobs that may be started again as a whole: a \
                   push with the same key and content is not counted twice. Without this flag, \
                   each run has a new key.",
        },
        timeout_flag(
            "Give up after this time; 30s if not given. Until then the push is retried, and each \
             attempt may take a third of this time.",
        ),
        BASIC_AUTH,
        BEARER_TOKEN,
        CA_FILE,
        Flag {
            name: "--verbose",
            placeholder: "",
            repeated: false,
            help: "Report each attempt, and what was pushed.",
        },
    ],
    more: "\
Exit status:
  0   the push was applied, now or by an earlier attempt
  1   it was refused, or its content has errors; do not retry
  64  wrong usage
  75  it could not be delivered in time; a retry may work, with --key if it must
      not count twice

Examples:
  mails=$(count-mails)
  echo \"mails_sent_total $mails\" |
    tallygate push --job=newsletter https://gateway.example

  tallygate push --job=backup --label=host=db1 --key=\"backup-$(date +%F)\" \\
    --timeout=5m http://localhost:9091 /var/lib/backup/metrics.prom",
};

const JOB: Flag = Flag {
    name: "--job",
    placeholder: "JOB",
    repeated: false,
    help: "The label job of all series, as a part of the path.",
};
const LABEL: Flag = Flag {
    name: "--label",
    placeholder: "NAME=VALUE",
    repeated: true,
    help: "A further label of the path. May be repeated.",
};

/// Bodies above this size are sent with gzip.
const GZIP_ABOVE_BYTES: usize = 4 << 10;
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What `tallygate push` was asked to do.
#[derive(Clone, Debug)]
pub struct PushJob {
    url: Url,
    grouping: Grouping,
    files: Vec<PathBuf>,
    format: Option<PushFormat>,
    method: &'static str,
    merge: Option<GaugeRule>,
    ttl: Option<Duration>,
    key: Option<Key>,
    timeout: Duration,
    client: ClientOptions,
    verbose: bool,
}

/// Why nothing was pushed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Final(String),
    #[error("{0}; gave up after {tries} tries in {tried}", tries = .1, tried = shown(*.2))]
    Temporary(String, usize, Duration),
}

impl PushJob {
    /// `None` if help is asked for.
    ///
    /// # Errors
    /// For the first argument that makes no sense.
    pub(super) fn read(
        args: impl IntoIterator<Item = OsString>,
        environment: &[(String, String)],
    ) -> Result<Option<PushJob>, UsageError> {
        let Some(given) = Given::read(args, &PAGE)? else { return Ok(None) };
        let mut words = given.words.iter();
        let url = words.next().ok_or(UsageError::NoUrl)?;
        let pairs = grouping(&given)?;
        let url =
            target(&bare_url(url)?, &pairs).map_err(|error| UsageError::Url(error.to_string()))?;
        let grouping = Grouping::new(pairs.iter().map(|(name, value)| (&**name, &**value)))
            .map_err(|error| bad_value("--label", "", error))?;
        Ok(Some(PushJob {
            url,
            grouping,
            files: words.map(PathBuf::from).collect(),
            format: format_of(&given)?,
            method: given
                .parsed("--method", |word| one_of(word, &["POST", "PUT"]))?
                .unwrap_or("POST"),
            merge: given.parsed("--merge", |word| {
                word.parse().map_err(|_| "accepted are last, sum, min, max, mean")
            })?,
            ttl: given.parsed("--ttl", parse_duration)?,
            key: given.parsed("--key", |key| Key::parse(key.as_bytes()))?,
            timeout: timeout(&given)?.unwrap_or(DEFAULT_TIMEOUT),
            client: client_options(&given, environment)?,
            verbose: given.has("--verbose"),
        }))
    }

    /// The exit code.
    pub(super) fn run(
        &self,
        input: &mut dyn Read,
        out: &mut impl Write,
        err: &mut impl Write,
    ) -> u8 {
        match self.push(input, out, err) {
            Ok(()) => 0,
            Err(failure) => {
                say(err, &format!("tallygate: {failure}\n"));
                match failure {
                    Failure::Final(_) => EXIT_FAILURE,
                    Failure::Temporary(..) => EXIT_TEMPORARY,
                }
            }
        }
    }

    fn push(
        &self,
        input: &mut dyn Read,
        out: &mut impl Write,
        err: &mut impl Write,
    ) -> Result<(), Failure> {
        let check = Check {
            grouping: &self.grouping,
            format: self.format,
            merge: self.merge,
            // The gateway may be configured to ignore them.
            timestamps: Timestamps::Ignore,
        };
        let (Input { body, format }, pushed) = inspect::read(&self.files, input, check)?;
        if pushed.samples == 0 {
            say(err, "tallygate: there are no samples in what is pushed\n");
        }
        let client =
            Client::new(&self.client).map_err(|error| Failure::Final(error.to_string()))?;
        let packed = pack(&body)?;
        let answer = self.deliver(&client, &packed, format, packed.len() < body.len(), err)?;
        if self.verbose {
            let again = if answer.replayed { ", applied by an earlier try" } else { "" };
            let (samples, url) = (pushed.samples, &self.url);
            say(out, &format!("{samples} samples pushed to {url}{again}\n"));
        }
        Ok(())
    }

    /// Sends the push until there is a clear answer.
    fn deliver(
        &self,
        client: &Client,
        body: &[u8],
        format: PushFormat,
        gzip: bool,
        err: &mut impl Write,
    ) -> Result<Answer, Failure> {
        let started = Instant::now();
        let mut key = self.key_field();
        // An attempt may have been applied without our knowing.
        let mut in_doubt = false;
        for tries in 1.. {
            let left = self.timeout.saturating_sub(started.elapsed());
            let ask = Ask {
                method: self.method,
                url: &self.url,
                headers: &self.headers(&key, format, gzip),
                body: Some(body),
                timeout: left.min(self.timeout / 3),
            };
            let (reason, retry_after) = match client.send(&ask) {
                Ok(answer) if matches!(answer.status, 200 | 202) => return Ok(answer),
                Ok(answer) if is_temporary(answer.status) => {
                    in_doubt |= answer.status >= 500 || answer.status == 408;
                    (answer.explanation(), answer.retry_after)
                }
                Ok(answer) => {
                    let (url, explanation) = (&self.url, answer.explanation());
                    return Err(Failure::Final(format!("{url} answers {explanation}")));
                }
                Err(error @ ClientError::NotSent(_)) => (error.to_string(), None),
                Err(error @ ClientError::Broken(_)) => {
                    in_doubt = true;
                    (error.to_string(), None)
                }
                Err(error) => return Err(Failure::Final(format!("{}: {error}", self.url))),
            };
            let pause = pause(tries, retry_after);
            if started.elapsed().saturating_add(pause) >= self.timeout {
                let reason = format!("{}: {reason}", self.url);
                return Err(Failure::Temporary(reason, tries, started.elapsed()));
            }
            if self.verbose {
                let pause = shown(pause);
                say(err, &format!("tallygate: try {tries}: {reason}; again in {pause}\n"));
            }
            std::thread::sleep(pause);
            // As long as nothing can have arrived, a new key is just as good, and not too old for a
            // gateway that has started in the meantime.
            if !in_doubt {
                key = self.key_field();
            }
        }
        unreachable!("the loop ends by returning")
    }

    /// As a structured field.
    fn key_field(&self) -> String {
        let key = match &self.key {
            Some(key) => key.as_str().replace('\\', r"\\").replace('"', "\\\""),
            None => random::uuid7(clock::unix_ms()),
        };
        format!("\"{key}\"")
    }

    fn headers(&self, key: &str, format: PushFormat, gzip: bool) -> Vec<(&'static str, String)> {
        let media_type = match format {
            PushFormat::Text => "text/plain; version=0.0.4; charset=utf-8",
            PushFormat::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            PushFormat::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
                 encoding=delimited"
            }
        };
        let mut headers =
            vec![("Content-Type", media_type.to_owned()), ("Idempotency-Key", key.to_owned())];
        headers.extend(gzip.then(|| ("Content-Encoding", "gzip".to_owned())));
        headers.extend(self.merge.map(|rule| ("Push-Merge", rule.word().to_owned())));
        headers.extend(self.ttl.map(|ttl| ("Push-TTL", format_duration(ttl))));
        headers
    }
}

impl From<inspect::InputError> for Failure {
    fn from(error: inspect::InputError) -> Failure {
        Failure::Final(error.to_string())
    }
}

/// `--job` and `--label`, the job first.
fn grouping(given: &Given) -> Result<Vec<(String, String)>, UsageError> {
    let job = given.get("--job").map(|job| ("job".to_owned(), job.to_owned()));
    let mut pairs: Vec<_> = job.into_iter().collect();
    for label in given.all("--label") {
        let bad = |reason: &str| bad_value("--label", label, reason);
        let (name, value) = label.split_once('=').ok_or_else(|| bad("it has no ="))?;
        labels::check_name(name).map_err(|error| bad(&error.to_string()))?;
        if pairs.iter().any(|(other, _)| other == name) {
            return Err(bad("the label is given twice"));
        }
        pairs.push((name.to_owned(), value.to_owned()));
    }
    Ok(pairs)
}

/// The URL with the path of a push: `/metrics`, unless it is there already, and the grouping labels.
pub(super) fn target(url: &Url, pairs: &[(String, String)]) -> Result<Url, ClientError> {
    let mut path = url.path().trim_end_matches('/').to_owned();
    if !path.split('/').any(|part| part == "metrics") {
        path.push_str("/metrics");
    }
    for (name, value) in pairs {
        let plain = !matches!(&**value, "" | "." | "..") && !value.contains('/');
        let _infallible = match (plain, &**value) {
            (true, value) => write!(path, "/{name}/{}", escaped(value)),
            (false, "") => write!(path, "/{name}@base64/="),
            (false, value) => {
                write!(path, "/{name}@base64/{}", BASE64_URL_SAFE_NO_PAD.encode(value))
            }
        };
    }
    if let Some(query) = url.query() {
        let _infallible = write!(path, "?{query}");
    }
    url.with_path(&path)
}

fn escaped(value: &str) -> String {
    let mut escaped = String::new();
    for byte in value.bytes() {
        let _infallible = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.write_char(char::from(byte))
            }
            byte => write!(escaped, "%{byte:02X}"),
        };
    }
    escaped
}

/// To a tenth of a second.
fn shown(duration: Duration) -> String {
    let tenths = u64::try_from(duration.as_millis() / 100).unwrap_or(u64::MAX);
    format_duration(Duration::from_millis(tenths.saturating_mul(100)))
}

fn is_temporary(status: u16) -> bool {
    matches!(status, 408 | 409 | 429 | 500..=599)
}

/// Grows with every attempt, differs between clients, and is at least what the gateway asks for.
fn pause(tries: usize, asked: Option<Duration>) -> Duration {
    let doublings = u32::try_from(tries - 1).unwrap_or(u32::MAX).min(16);
    let longest = FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
    let share = f64::from(u16::from_le_bytes(random::bytes())) / f64::from(u16::MAX);
    let jittered = longest.mul_f64(0.5 + share / 2.0);
    asked.map_or(jittered, |asked| asked.saturating_add(jittered / 4)).max(jittered)
}

fn pack(body: &[u8]) -> Result<std::borrow::Cow<'_, [u8]>, Failure> {
    if body.len() <= GZIP_ABOVE_BYTES {
        return Ok(body.into());
    }
    let packed = compress::encode(Compression::Gzip, Levels::default(), body)
        .map_err(|error| Failure::Final(format!("gzip: {error}")))?;
    Ok(if packed.len() < body.len() { packed.into() } else { body.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_as_long_as_the_gateway_asks_for() {
        let asked = Duration::from_secs(7);
        for tries in [1, 2, 20, usize::MAX] {
            let longest = if tries < 3 { FIRST_PAUSE * tries as u32 } else { LONGEST_PAUSE };
            assert!((longest / 2..=longest).contains(&pause(tries, None)), "{tries}");
            assert!(pause(tries, Some(asked)) > asked);
            assert_eq!(pause(tries, Some(Duration::MAX)), Duration::MAX);
        }
    }
}
