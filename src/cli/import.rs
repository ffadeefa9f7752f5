//! `tallygate import`: where the groups of an old Pushgateway come from. The `app` imports them.

use std::path::PathBuf;
use std::time::Duration;

use super::UsageError;
use super::client::{Ask, Client, ClientError, ClientOptions, Url};
use super::client_flags::{
    BASIC_AUTH, BEARER_TOKEN, CA_FILE, bare_url, client_options, timeout, timeout_flag,
};
use super::flags::{Flag, Given, Page};

pub(super) const PAGE: Page = Page {
    usage: "import FILE|--from=URL [FLAGS]",
    about: "\
Takes over the groups of an old Pushgateway, from its persistence file or while
it runs, with push times and families of all types. They go into the store of
this configuration, which must not have groups yet. If they cannot be read,
nothing is imported. Families that contradict each other are left out and
reported. No gateway may be running on the store.",
    flags: &[
        FROM,
        timeout_flag("How long each request may take; 60s if not given."),
        BASIC_AUTH,
        BEARER_TOKEN,
        CA_FILE,
    ],
    more: "\
Pass the same flags as to serve, which say where the store is. The old
Pushgateway has its metrics at --web.telemetry-path. It is asked again if
somebody pushes to it in the meantime.

Examples:
  tallygate import /data/groups --mode=pushgateway \\
    --persistence.file=/data/groups

  tallygate import --from=http://pushgateway:9091 --mode=pushgateway \\
    --store.path=/data/tallygate",
};

const FROM: Flag = Flag {
    name: "--from",
    placeholder: "URL",
    repeated: false,
    help: "Ask the Pushgateway at this URL, such as http://pushgateway:9091, with its route prefix \
           if it has one.",
};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// Where to take groups from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A persistence file.
    File(PathBuf),
    Running(Box<Running>),
}

/// A running Pushgateway.
#[derive(Clone, Debug)]
pub struct Running {
    url: Url,
    timeout: Duration,
    client: ClientOptions,
}

/// Why a Pushgateway cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("{0}: {1}")]
    NoAnswer(String, ClientError),
    #[error("{0} answers {1}")]
    Answer(String, String),
}

impl Origin {
    pub(super) fn read(
        file: Option<String>,
        given: &Given,
        environment: &[(String, String)],
    ) -> Result<Origin, UsageError> {
        match (file, given.get(FROM.name)) {
            (Some(file), None) => match given.first() {
                None => Ok(Origin::File(file.into())),
                Some(flag) => Err(UsageError::OnlyFrom { flag }),
            },
            (None, Some(url)) => Ok(Origin::Running(Box::new(Running {
                url: bare_url(url)?,
                timeout: timeout(given)?.unwrap_or(DEFAULT_TIMEOUT),
                client: client_options(given, environment)?,
            }))),
            (Some(file), Some(_)) => Err(UsageError::TooMany(file)),
            (None, None) => Err(UsageError::NoFile),
        }
    }
}

impl Running {
    /// Its groups, as its JSON API lists them.
    ///
    /// # Errors
    /// If the answer is not 200.
    pub fn listing(&self) -> Result<Vec<u8>, AskError> {
        self.get("/api/v1/metrics", "application/json")
    }

    /// An exposition in the delimited protobuf format.
    ///
    /// # Errors
    /// If the answer is not 200.
    pub fn exposition(&self, telemetry_path: &str) -> Result<Vec<u8>, AskError> {
        const ACCEPT: &str = "application/vnd.google.protobuf; \
            proto=io.prometheus.client.MetricFamily; encoding=delimited; escaping=allow-utf-8";
        self.get(telemetry_path, ACCEPT)
    }

    fn get(&self, path: &str, accept: &str) -> Result<Vec<u8>, AskError> {
        let path = format!("{}{path}", self.url.path().trim_end_matches('/'));
        let failed = |error| AskError::NoAnswer(self.url.to_string(), error);
        let url = self.url.with_path(&path).map_err(failed)?;
        let failed = |error| AskError::NoAnswer(url.to_string(), error);
        let client = Client::new(&self.client).map_err(failed)?;
        let headers = [("Accept", accept.to_owned())];
        let timeout = self.timeout;
        let ask = Ask { method: "GET", url: &url, headers: &headers, body: None, timeout };
        let answer = client.send(&ask).map_err(failed)?;
        match answer.status {
            200 => Ok(answer.body),
            _ => Err(AskError::Answer(url.to_string(), answer.explanation())),
        }
    }
}

impl std::fmt::Display for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.url.fmt(f)
    }
}
