//! The HTTP client of the commands: one request, one answer. It does not follow redirects, which lose
//! pushes (clients R2).

use std::fmt::{self, Write as _};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ureq::http::{Request, Uri, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Error, SendBody, Timeout};

use crate::config::Secret;

/// A valid URL of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url(Uri);

/// What all requests of a client have in common.
#[derive(Clone, Debug, Default)]
pub struct ClientOptions {
    /// The value of the header `Authorization`.
    pub(super) authorization: Option<Secret>,
    /// PEM certificates to trust instead of the public authorities.
    pub(super) ca_file: Option<PathBuf>,
}

#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    authorization: Option<Secret>,
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    pub(super) method: &'a str,
    pub(super) url: &'a Url,
    pub(super) headers: &'a [(&'a str, String)],
    /// `None` for methods without a body.
    pub(super) body: Option<&'a [u8]>,
    /// From name resolution to the end of the answer.
    pub(super) timeout: Duration,
}

#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The beginning of the status line, such as `503 Service Unavailable`.
    pub(super) status_line: String,
    pub(super) retry_after: Option<Duration>,
    /// An earlier attempt of the same push was applied.
    pub(super) replayed: bool,
    pub(super) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("{0:?} is not a URL such as http://localhost:9091")]
    BadUrl(String),
    #[error("credentials in a URL can be seen by others; use the flags or variables for them")]
    Credentials,
    #[error("{}: {reason}", .file.display())]
    File { file: PathBuf, reason: String },
    /// Nothing of the request was sent.
    #[error("cannot connect: {0}")]
    NotSent(String),
    /// The request may have arrived.
    #[error("no answer: {0}")]
    Broken(String),
    /// Another attempt would fail, too.
    #[error("{0}")]
    Hopeless(String),
}

/// No gateway of ours sends a longer answer.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

impl Url {
    /// # Errors
    /// If it is no plain URL of HTTP or HTTPS.
    pub fn parse(text: &str) -> Result<Url, ClientError> {
        let bad = || ClientError::BadUrl(text.to_owned());
        if !text.is_ascii() || text.contains('#') {
            return Err(bad());
        }
        let uri: Uri = text.parse().map_err(|_| bad())?;
        let authority = uri.authority().ok_or_else(bad)?;
        if authority.as_str().contains('@') {
            return Err(ClientError::Credentials);
        }
        let known = matches!(uri.scheme_str(), Some("http" | "https"));
        if known && !authority.host().is_empty() { Ok(Url(uri)) } else { Err(bad()) }
    }

    pub fn path(&self) -> &str {
        self.0.path()
    }

    pub fn query(&self) -> Option<&str> {
        self.0.query()
    }

    /// The same server; `path_and_query` must be escaped.
    pub(super) fn with_path(&self, path_and_query: &str) -> Result<Url, ClientError> {
        let mut parts = self.0.clone().into_parts();
        let bad = || ClientError::BadUrl(path_and_query.to_owned());
        parts.path_and_query = Some(path_and_query.parse().map_err(|_| bad())?);
        Uri::from_parts(parts).map(Url).map_err(|_| bad())
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Client {
    /// # Errors
    /// If a file cannot be used.
    pub(super) fn new(options: &ClientOptions) -> Result<Client, ClientError> {
        let mut tls = TlsConfig::builder();
        if let Some(file) = &options.ca_file {
            tls = tls.root_certs(RootCerts::Specific(Arc::new(certificates(file)?)));
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("tallygate/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls.build())
            .build()
            .into();
        Ok(Client { agent, authorization: options.authorization.clone() })
    }

    /// # Errors
    /// If there is no answer in time.
    pub(super) fn send(&self, ask: &Ask<'_>) -> Result<Answer, ClientError> {
        let mut request = Request::builder().method(ask.method).uri(ask.url.0.clone());
        for (name, value) in ask.headers {
            request = request.header(*name, value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization.reveal());
        }
        match ask.body {
            None => self.run(request.body(()), ask.timeout),
            Some(mut body) => {
                request = request.header(header::CONTENT_LENGTH, body.len());
                self.run(request.body(SendBody::from_reader(&mut body)), ask.timeout)
            }
        }
    }

    fn run(
        &self,
        request: Result<Request<impl ureq::AsSendBody>, ureq::http::Error>,
        timeout: Duration,
    ) -> Result<Answer, ClientError> {
        let request = request.map_err(|error| ClientError::Hopeless(error.to_string()))?;
        let request = self.agent.configure_request(request).timeout_global(Some(timeout)).build();
        let mut response = self.agent.run(request).map_err(of_ureq)?;
        let headers = response.headers();
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let seconds = text("retry-after").and_then(|seconds| seconds.trim().parse().ok());
        let (retry_after, replayed) =
            (seconds.map(Duration::from_secs), text("idempotent-replayed") == Some("?1"));
        let status_line = response.status().to_string();
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        Ok(Answer {
            status: response.status().as_u16(),
            status_line,
            retry_after,
            replayed,
            body: body.map_err(of_ureq)?,
        })
    }
}

impl Answer {
    /// What went wrong, from the problem document or the first line of the text.
    pub(super) fn explanation(&self) -> String {
        #[derive(serde::Deserialize)]
        struct Problem {
            detail: String,
            hint: Option<String>,
        }
        let mut text = self.status_line.clone();
        if let Ok(problem) = serde_json::from_slice::<Problem>(&self.body) {
            let _infallible = write!(text, ": {}", problem.detail);
            if let Some(hint) = problem.hint {
                let _infallible = write!(text, " ({hint})");
            }
        } else if let Some(line) = String::from_utf8_lossy(&self.body).lines().next() {
            let line: String = line.chars().take(300).filter(|c| !c.is_control()).collect();
            let _infallible = write!(text, ": {line}");
        }
        text
    }
}

fn certificates(file: &Path) -> Result<Vec<ureq::tls::Certificate<'static>>, ClientError> {
    let broken = |reason: String| ClientError::File { file: file.to_owned(), reason };
    let pem = std::fs::read(file).map_err(|error| broken(error.to_string()))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|e| broken(e.to_string()))? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        Err(broken("no certificate in it".into()))
    } else {
        Ok(certificates)
    }
}

fn of_ureq(error: Error) -> ClientError {
    let text = error.to_string();
    match error {
        Error::HostNotFound
        | Error::ConnectionFailed
        | Error::ConnectProxyFailed(_)
        | Error::Timeout(Timeout::Resolve | Timeout::Connect) => ClientError::NotSent(text),
        Error::Io(error) if is_before_sending(&error) => ClientError::NotSent(text),
        // An error of TLS: a certificate does not get better by waiting.
        Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            ClientError::Hopeless(error.to_string())
        }
        Error::Io(_) | Error::Timeout(_) | Error::Protocol(_) | Error::BodyStalled => {
            ClientError::Broken(text)
        }
        _ => ClientError::Hopeless(text),
    }
}

/// These errors only come from connecting.
fn is_before_sending(error: &io::Error) -> bool {
    use io::ErrorKind::{
        AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable,
    };
    matches!(
        error.kind(),
        ConnectionRefused | HostUnreachable | NetworkUnreachable | NetworkDown | AddrNotAvailable
    )
}
