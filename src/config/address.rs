//! Where to listen, and how the gateway is reached: addresses, the external URL, the route prefix.

use std::ops::Deref;

/// `host:port`, `[v6]:port` or `:port`. Names are looked up when the address is bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    text: String,
    host: String,
    port: u16,
}

impl Address {
    pub(super) fn parse(text: &str) -> Result<Address, String> {
        let accepted = "an address is written like :9091, 127.0.0.1:9091 or [::1]:9091";
        let wrong = |what: &str| Err(format!("{what}; {accepted}"));
        let Some((host, port)) = text.rsplit_once(':') else {
            return wrong(&match text.parse::<u16>() {
                Ok(port) => format!("a port alone is written :{port}"),
                Err(_) => "it has no port".to_owned(),
            });
        };
        if text.contains("://") {
            return wrong("a URL is not an address");
        }
        let Ok(port) = port.parse::<u16>() else {
            return wrong(&format!("{port:?} is not a port"));
        };
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(v6) if v6.parse::<std::net::Ipv6Addr>().is_err() => {
                return wrong(&format!("{v6:?} is not an IPv6 address"));
            }
            Some(v6) => v6,
            None if host.contains(':') => return wrong("an IPv6 address needs brackets"),
            None if host == "*" => return wrong("all addresses are written without a host"),
            None if !host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)) => {
                return wrong(&format!("{host:?} is not a host"));
            }
            None => host,
        };
        Ok(Address { text: text.to_owned(), host: host.to_owned(), port })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// A name, an IPv4 address, or an IPv6 address without brackets; `None` is every address of
    /// the machine.
    pub fn host(&self) -> Option<&str> {
        (!self.host.is_empty()).then_some(&*self.host)
    }

    /// 0 lets the system choose.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn is_every(&self) -> bool {
        matches!(&*self.host, "" | "0.0.0.0" | "::")
    }

    /// The two cannot both be bound.
    pub(super) fn collides(&self, other: &Address) -> bool {
        let host = self.is_every() || other.is_every() || self.host == other.host;
        self.port != 0 && self.port == other.port && host
    }
}

/// One or more addresses, all different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses(Vec<Address>);

impl Addresses {
    pub(super) fn new<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Addresses, String> {
        let mut addresses: Vec<Address> = Vec::new();
        for text in texts {
            let address = Address::parse(text)?;
            if let Some(other) = addresses.iter().find(|other| address.collides(other)) {
                return Err(format!("{} and {text} overlap", other.as_str()));
            }
            addresses.push(address);
        }
        if addresses.is_empty() {
            return Err("at least one address is needed, such as :9091".to_owned());
        }
        Ok(Addresses(addresses))
    }
}

impl Deref for Addresses {
    type Target = [Address];

    fn deref(&self) -> &[Address] {
        &self.0
    }
}

/// `http://host/path` or `https://host/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalUrl {
    text: String,
    prefix: String,
}

impl ExternalUrl {
    /// The path: empty, or beginning with a slash and not ending in one.
    pub fn path(&self) -> &str {
        &self.prefix
    }

    pub(super) fn parse(text: &str) -> Result<ExternalUrl, String> {
        let wrong = |what: &str| {
            Err(format!("{what}; a URL is written like https://push.example.org/tally"))
        };
        let Some((scheme, rest)) = text.split_once("://") else {
            return wrong("the scheme is missing");
        };
        if !matches!(scheme, "http" | "https") {
            return wrong("the scheme must be http or https");
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let stray = |c: char| c.is_whitespace() || c.is_control() || "?#<>\"\\".contains(c);
        if authority.is_empty() || authority.contains(stray) {
            return wrong("the host is missing or wrong");
        }
        if authority.contains('@') {
            return wrong("it must not hold a user or password");
        }
        match prefix(path) {
            Ok(prefix) => Ok(ExternalUrl { text: text.to_owned(), prefix }),
            Err(reason) => wrong(&reason),
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Origins of web pages: `*` alone, or `scheme://host` and `scheme://host:port` as browsers write them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(Vec<String>);

impl Origins {
    pub(super) fn new<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Origins, String> {
        let mut origins: Vec<String> = Vec::new();
        for text in texts {
            let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
            let sound = |host: &str| {
                let fine =
                    |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.:[]".contains(c);
                !host.is_empty() && host.chars().all(fine)
            };
            if text != "*" && !host.is_some_and(sound) {
                return Err(format!(
                    "{text:?} is not an origin; it is written like https://app.example.org, in lower \
                     case and without a path"
                ));
            }
            if !origins.iter().any(|other| other == text) {
                origins.push(text.to_owned());
            }
        }
        if origins.len() > 1 && origins.iter().any(|origin| origin == "*") {
            return Err("\"*\" stands for any origin, so it stands alone".to_owned());
        }
        Ok(Origins(origins))
    }

    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

/// The path below which everything is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutePrefix {
    /// `None` takes the path of the external URL; empty is no prefix.
    path: Option<String>,
}

impl RoutePrefix {
    pub(super) fn parse(text: &str) -> Result<RoutePrefix, String> {
        let path = if text.is_empty() { None } else { Some(prefix(text)?) };
        Ok(RoutePrefix { path })
    }

    /// Takes the path of the external URL, unless there is a prefix.
    pub(super) fn resolve(&mut self, url: &ExternalUrl) {
        self.path.get_or_insert_with(|| url.prefix.clone());
    }

    /// Empty, or beginning with a slash and not ending in one.
    pub fn as_str(&self) -> &str {
        self.path.as_deref().unwrap_or_default()
    }

    /// As [`RoutePrefix::parse`] reads it.
    pub(super) fn written(&self) -> &str {
        match self.path.as_deref() {
            None => "",
            Some("") => "/",
            Some(path) => path,
        }
    }
}

/// The path of scrapes, below the route prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetryPath(String);

impl TelemetryPath {
    pub(super) fn parse(text: &str) -> Result<TelemetryPath, String> {
        let path = prefix(text)?;
        if path.is_empty() {
            return Err("a path such as /metrics is needed".to_owned());
        }
        // Scrapes would get something else, or pushes would find scrapes.
        let taken = ["/-/", "/api/v1/", "/static/", "/status/", "/metrics/job/"];
        match taken.iter().find(|taken| format!("{path}/").starts_with(**taken)) {
            Some(taken) => Err(format!("{} has a meaning of its own", taken.trim_end_matches('/'))),
            None => Ok(TelemetryPath(path)),
        }
    }

    /// Begins with a slash and does not end in one.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The path with a slash at the beginning and none at the end.
fn prefix(path: &str) -> Result<String, String> {
    let path = path.trim_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@/".contains(c);
    if let Some(stray) = path.chars().find(|c| !plain(*c)) {
        return Err(format!("{stray:?} cannot stand in a path prefix"));
    }
    if path.is_empty() {
        return Ok(String::new());
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("a path prefix has no empty parts, and none of . and ..".to_owned());
    }
    Ok(format!("/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn telemetry_paths() {
        for (text, path) in
            [("/metrics", "/metrics"), ("own/metrics/", "/own/metrics"), ("/statuses", "/statuses")]
        {
            assert_eq!(TelemetryPath::parse(text).as_ref().map(TelemetryPath::as_str), Ok(path));
        }
        for (text, reason) in [
            ("/", "a path such as /metrics is needed"),
            ("/status", "/status has a meaning of its own"),
            ("/-/ready", "/- has a meaning of its own"),
            ("/api/v1/metrics/", "/api/v1 has a meaning of its own"),
            ("/static/x", "/static has a meaning of its own"),
            ("/metrics/job/x", "/metrics/job has a meaning of its own"),
            ("/a b", "' ' cannot stand in a path prefix"),
        ] {
            let found = TelemetryPath::parse(text).map(|path| path.0);
            assert_eq!(found, Err(reason.to_owned()), "{text}");
        }
    }

    #[test]
    fn addresses() {
        for (text, host, port) in [
            (":9091", None, 9091),
            ("localhost:0", Some("localhost"), 0),
            ("127.0.0.1:80", Some("127.0.0.1"), 80),
            ("[::1]:80", Some("::1"), 80),
            ("push_gw.example-1.org:65535", Some("push_gw.example-1.org"), 65535),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!((address.host(), address.port(), address.as_str()), (host, port, text));
        }
    }

    #[test]
    fn refused_addresses() {
        for (text, reason) in [
            ("9091", "a port alone is written :9091;"),
            ("localhost", "it has no port"),
            ("", "it has no port"),
            ("localhost:", "\"\" is not a port"),
            (":65536", "\"65536\" is not a port"),
            (":-1", "\"-1\" is not a port"),
            ("::1:80", "an IPv6 address needs brackets"),
            ("[::g]:80", "\"::g\" is not an IPv6 address"),
            ("*:80", "all addresses are written without a host"),
            ("http://localhost:80", "a URL is not an address"),
            ("local host:80", "\"local host\" is not a host"),
        ] {
            let error = Address::parse(text).unwrap_err();
            assert!(error.starts_with(reason), "{text}: {error}");
            assert!(error.ends_with("127.0.0.1:9091 or [::1]:9091"), "{text}: {error}");
        }
    }

    #[test]
    fn overlapping_addresses() {
        let addresses = |texts: &[&str]| Addresses::new(texts.iter().copied());
        assert!(addresses(&[":1", ":2", "localhost:3", "127.0.0.1:3"]).is_ok());
        assert!(addresses(&[":0", ":0"]).is_ok());
        assert_eq!(addresses(&[":1", "localhost:1"]), Err(":1 and localhost:1 overlap".into()));
        assert!(addresses(&["[::]:1", "127.0.0.1:1"]).is_err());
        assert!(addresses(&["a:1", "a:1"]).is_err());
        assert!(addresses(&[]).is_err());
    }

    #[test]
    fn route_prefixes() {
        let url = ExternalUrl::parse("https://push.example.org:8443/a/b/").unwrap();
        for (text, with_url, without) in
            [("", "/a/b", ""), ("/", "", ""), ("x", "/x", "/x"), ("/x/y/", "/x/y", "/x/y")]
        {
            let plain = RoutePrefix::parse(text).unwrap();
            let mut prefix = plain.clone();
            prefix.resolve(&url);
            assert_eq!((prefix.as_str(), plain.as_str()), (with_url, without), "{text}");
            assert_eq!(RoutePrefix::parse(plain.written()), Ok(plain));
            assert_eq!(RoutePrefix::parse(prefix.written()), Ok(prefix));
        }
        for text in ["/a b", "/a?b", "/a//b", "/../a", "/{a}", "/%41", "/ü"] {
            assert!(RoutePrefix::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn external_urls() {
        for text in ["http://a", "https://a.b:1/", "http://[::1]:9091/x"] {
            assert_eq!(ExternalUrl::parse(text).unwrap().as_str(), text);
        }
        for text in
            ["a.b", "//a", "ftp://a", "http://", "http:///x", "http://a/x?y", "http://u:p@a"]
        {
            assert!(ExternalUrl::parse(text).is_err(), "{text}");
        }
    }
}
