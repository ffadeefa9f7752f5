//! `healthcheck`: one request to a running gateway, for containers without a shell.
//!
//! With TLS, the check trusts exactly the certificate in the configuration, whatever names are in it. It
//! has no credentials; a gateway that asks for some is alive.

mod pinned;

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::config::{Address, Config, WebFile};

/// For connecting, for sending and for each read. Container engines allow 3 s or more.
const TIMEOUT: Duration = Duration::from_secs(2);
const DEFAULT_PATH: &str = "/-/healthy";
const HEAD_BYTES_MAX: u64 = 1 << 10;
const HTTPS: &str = "https://";

/// What to ask for, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Without brackets.
    host: String,
    port: u16,
    path: String,
    /// With TLS: the certificate that the gateway must show, in PEM.
    certificate: Option<Vec<u8>>,
}

/// Why a gateway does not count as healthy.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    #[error("{0:?} is neither a path nor a URL like http://localhost:9091/-/ready")]
    BadTarget(String),
    #[error("{0}: without web.config_file there is no certificate to trust")]
    NoCertificate(String),
    #[error("{0}")]
    WebFile(String),
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    #[error("no answer: {0}")]
    Answer(#[source] io::Error),
    #[error("the answer is not HTTP: {0:?}")]
    NotHttp(String),
    #[error("the answer is {0}")]
    Status(String),
}

/// Where to ask: at a URL, or for a path where `config` serves probes.
///
/// # Errors
/// If `asked` is neither, or the certificate of the gateway cannot be read.
pub fn target(config: &Config, asked: Option<&str>) -> Result<Target, HealthError> {
    let (address, prefix) = match &config.web.management_address {
        Some(address) => (Some(address), ""),
        None => (config.web.listen_address.first(), config.web.route_prefix.as_str()),
    };
    let here = |path: String| {
        let certificate = match config.web.management_address {
            Some(_) => None,
            None => certificate(config)?,
        };
        let (host, port) = (reachable(address), address.map_or(0, Address::port));
        Ok(Target { host, port, path, certificate })
    };
    match asked {
        None => here(format!("{prefix}{DEFAULT_PATH}")),
        Some(path) if path.starts_with('/') && is_clean(path) => here(path.to_owned()),
        Some(url) => {
            let target = from_url(url).ok_or_else(|| HealthError::BadTarget(url.to_owned()))?;
            if !url.starts_with(HTTPS) {
                return Ok(target);
            }
            match certificate(config)? {
                None => Err(HealthError::NoCertificate(url.to_owned())),
                certificate => Ok(Target { certificate, ..target }),
            }
        }
    }
}

/// The certificate in the web configuration file; `None` if there is none.
fn certificate(config: &Config) -> Result<Option<Vec<u8>>, HealthError> {
    let Some(path) = &config.web.config_file else { return Ok(None) };
    let file = WebFile::load(path).map_err(|error| HealthError::WebFile(error.to_string()))?;
    let read = file.tls.map(|tls| tls.certificate.read()).transpose();
    read.map_err(HealthError::WebFile)
}

/// The host by which a listener at `address` can be reached from the same machine.
fn reachable(address: Option<&Address>) -> String {
    match address.and_then(Address::host) {
        None | Some("0.0.0.0") => "127.0.0.1".to_owned(),
        Some("::") => "::1".to_owned(),
        Some(host) => host.to_owned(),
    }
}

fn from_url(url: &str) -> Option<Target> {
    let (rest, default_port) = match url.strip_prefix(HTTPS) {
        Some(rest) => (rest, 443),
        None => (url.strip_prefix("http://")?, 80),
    };
    if !is_clean(rest) {
        return None;
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let bracket = authority.rfind(']').unwrap_or(0);
    let (host, port) = match authority[bracket..].rfind(':') {
        Some(colon) => {
            let (host, port) = authority.split_at(bracket + colon);
            (host, port[1..].parse().ok()?)
        }
        None => (authority, default_port),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let path = if path.is_empty() { DEFAULT_PATH } else { path };
    let (host, path) = (host.to_owned(), path.to_owned());
    (!host.is_empty()).then_some(Target { host, port, path, certificate: None })
}

/// Contains nothing that would end the request line.
fn is_clean(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_graphic())
}

/// Sends the request. The status, if it is 200, or 401 from a gateway that wants credentials.
///
/// # Errors
/// If the gateway cannot be reached, or answers anything else.
pub fn check(target: &Target) -> Result<u16, HealthError> {
    let stream = connect(target).map_err(HealthError::Connect)?;
    let line = match &target.certificate {
        None => ask(stream, target),
        Some(pem) => pinned::connect(stream, pem).and_then(|stream| ask(stream, target)),
    };
    let line = line.map_err(HealthError::Answer)?;
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split_once(' '));
    match status {
        Some((_, status)) if status.starts_with("200") => Ok(200),
        Some((_, status)) if status.starts_with("401") => Ok(401),
        Some((_, status)) => Err(HealthError::Status(status.to_owned())),
        None => Err(HealthError::NotHttp(line)),
    }
}

fn connect(target: &Target) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = (&*target.host, target.port).to_socket_addrs()?.collect();
    let mut result = Err(io::Error::new(io::ErrorKind::NotFound, "the host has no address"));
    for address in addresses {
        result = TcpStream::connect_timeout(&address, TIMEOUT);
        if result.is_ok() {
            break;
        }
    }
    let stream = result?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// The status line.
fn ask(mut stream: impl Read + Write, target: &Target) -> io::Result<String> {
    let request = format!(
        "GET {} HTTP/1.0\r\nHost: {}\r\nUser-Agent: tallygate-healthcheck/{}\r\n\r\n",
        target.path,
        target.authority(),
        env!("CARGO_PKG_VERSION"),
    );
    stream.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    let mut byte = [0];
    let mut answer = stream.take(HEAD_BYTES_MAX);
    while answer.read(&mut byte)? == 1 && byte[0] != b'\n' {
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).trim_end().to_owned())
}

impl Target {
    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.certificate.is_some() { HTTPS } else { "http://" };
        write!(f, "{scheme}{}{}", self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;

    use super::*;

    #[track_caller]
    fn asked(config: &str, asked: Option<&str>) -> String {
        let config = Config::from_yaml(config).unwrap();
        match target(&config, asked) {
            Ok(target) => target.to_string(),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn targets() {
        let plain = "";
        let prefixed = "web: {listen_address: '[::]:80', route_prefix: /tally}";
        let managed =
            "web: {listen_address: 'a:1', management_address: 'b:2', route_prefix: /tally}";
        assert_eq!(asked(plain, None), "http://127.0.0.1:9091/-/healthy");
        assert_eq!(asked(plain, Some("/-/ready")), "http://127.0.0.1:9091/-/ready");
        assert_eq!(asked(prefixed, None), "http://[::1]:80/tally/-/healthy");
        assert_eq!(asked(managed, None), "http://b:2/-/healthy");
        assert_eq!(asked(plain, Some("http://x:5/y")), "http://x:5/y");
        assert_eq!(asked(plain, Some("http://x")), "http://x:80/-/healthy");
        assert_eq!(asked(plain, Some("http://[::1]:5/")), "http://[::1]:5/");
        assert_eq!(asked(plain, Some("http://[::1]")), "http://[::1]:80/-/healthy");
        for wrong in ["x", "http://", "http://x:y/", "/a b", "/a\r\nb", "https://x"] {
            assert!(asked(plain, Some(wrong)).starts_with("error: "), "{wrong}");
        }
    }

    /// A server that sends `answer` once; the address, and later the request line.
    fn serve_once(answer: &'static str) -> (Target, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let request = lines.next().unwrap().unwrap();
            while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            stream.write_all(answer.as_bytes()).unwrap();
            request
        });
        (
            Target { host: "127.0.0.1".into(), port, path: "/-/healthy".into(), certificate: None },
            server,
        )
    }

    #[test]
    fn healthy_gateways() {
        for (answer, status) in
            [("HTTP/1.0 200 OK\r\n\r\nfine", 200), ("HTTP/1.1 401 Unauthorized\r\n\r\n", 401)]
        {
            let (target, server) = serve_once(answer);
            assert_eq!(check(&target).unwrap(), status);
            assert_eq!(server.join().unwrap(), "GET /-/healthy HTTP/1.0");
        }
    }

    #[test]
    fn unhealthy_gateways() {
        for (answer, reason) in [
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", "the answer is 503 Service Unavailable"),
            ("HTTP/1.1 404 Not Found\r\n\r\n", "the answer is 404 Not Found"),
            ("SSH-2.0\r\n", "the answer is not HTTP: \"SSH-2.0\""),
            ("", "the answer is not HTTP: \"\""),
        ] {
            let (target, server) = serve_once(answer);
            assert_eq!(check(&target).unwrap_err().to_string(), reason);
            server.join().unwrap();
        }
    }

    #[test]
    fn nobody_there() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let target = Target { host: "127.0.0.1".into(), port, path: "/".into(), certificate: None };
        assert!(matches!(check(&target), Err(HealthError::Connect(_))));
    }
}
