//! The web configuration file, in the format that all exporters of the Prometheus world share
//! (pushgateway-contract 16): TLS, users with passwords, headers, and a rate limit.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::table::Table;
use crate::auth::{Account, PasswordHash, Rights};
use crate::units::Secret;

/// What the file says. An empty file is plain HTTP for everybody.
#[derive(Clone, Debug)]
pub struct WebFile {
    pub tls: Option<TlsServer>,
    pub http2: bool,
    /// Set on every answer.
    pub headers: Vec<(&'static str, String)>,
    /// They may do everything.
    pub users: Vec<Account>,
    pub rate_limit: Option<RateLimit>,
    /// What is odd, but not an error.
    pub warnings: Vec<String>,
}

/// `tls_server_config`
#[derive(Clone, Debug)]
pub struct TlsServer {
    pub certificate: Pem,
    pub key: Pem,
    pub client_ca: Option<Pem>,
    pub client_auth: ClientAuth,
    /// One of them must be a name of the client's certificate; empty allows any.
    pub client_allowed_sans: Vec<String>,
    pub min_version: TlsVersion,
    pub max_version: TlsVersion,
    /// Of TLS 1.2, in Go's names; empty is all.
    pub cipher_suites: Vec<&'static str>,
    /// In Go's names; empty is all.
    pub curves: Vec<&'static str>,
}

/// A certificate or key.
#[derive(Clone, Debug)]
pub enum Pem {
    Inline(Secret),
    File(PathBuf),
}

/// What is asked of clients, in Go's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    None,
    Request,
    RequireAny,
    VerifyIfGiven,
    RequireAndVerify,
}

impl ClientAuth {
    const WORDS: [(&str, ClientAuth); 6] = [
        ("NoClientCert", ClientAuth::None),
        ("RequestClientCert", ClientAuth::Request),
        ("RequireAnyClientCert", ClientAuth::RequireAny),
        ("RequireClientCert", ClientAuth::RequireAny),
        ("VerifyClientCertIfGiven", ClientAuth::VerifyIfGiven),
        ("RequireAndVerifyClientCert", ClientAuth::RequireAndVerify),
    ];

    /// The certificate must come from `client_ca`.
    pub fn verifies(self) -> bool {
        matches!(self, ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    Tls12,
    Tls13,
}

/// A token bucket: it holds `burst`, and one comes back every `interval`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    pub interval: Duration,
    pub burst: usize,
}

/// Why a file beside the configuration cannot be used. No problem mentions a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileErrors {
    pub path: PathBuf,
    pub problems: Vec<String>,
}

impl std::error::Error for FileErrors {}

impl fmt::Display for FileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index > 0 { "\n" } else { "" };
            write!(f, "{separator}{}: {problem}", self.path.display())?;
        }
        Ok(())
    }
}

/// Go's cipher suites: those of TLS 1.3, which cannot be chosen; those that we have; and those that
/// exist there but not here, because they are weak.
const CIPHER_SUITES: [(&str, Offered); 17] = [
    ("TLS_AES_128_GCM_SHA256", Offered::Always),
    ("TLS_AES_256_GCM_SHA384", Offered::Always),
    ("TLS_CHACHA20_POLY1305_SHA256", Offered::Always),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", Offered::Here),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", Offered::Here),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", Offered::Here),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", Offered::Here),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", Offered::Here),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", Offered::Here),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", Offered::Never),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", Offered::Never),
    ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", Offered::Never),
    ("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", Offered::Never),
    ("TLS_RSA_WITH_AES_128_CBC_SHA", Offered::Never),
    ("TLS_RSA_WITH_AES_256_CBC_SHA", Offered::Never),
    ("TLS_RSA_WITH_AES_128_GCM_SHA256", Offered::Never),
    ("TLS_RSA_WITH_AES_256_GCM_SHA384", Offered::Never),
];

const CURVES: [(&str, Offered); 5] = [
    ("CurveP256", Offered::Here),
    ("CurveP384", Offered::Here),
    ("X25519", Offered::Here),
    ("CurveP521", Offered::Never),
    ("X25519MLKEM768", Offered::Never),
];

/// Whether a list that names something changes what is offered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Offered {
    Always,
    Here,
    Never,
}

/// Headers that may be set, and the values that they may have; an empty list allows any.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-XSS-Protection", &[]),
    ("Strict-Transport-Security", &[]),
];

impl WebFile {
    /// Reads the file; not those it names.
    ///
    /// # Errors
    /// With everything that is wrong.
    pub fn load(path: &Path) -> Result<WebFile, FileErrors> {
        let errors = |problems| FileErrors { path: path.to_owned(), problems };
        let text = read(path).map_err(|reason| errors(vec![reason]))?;
        WebFile::parse(&text, folder(path)).map_err(errors)
    }

    /// Relative names of files are relative to `folder`.
    ///
    /// # Errors
    /// With everything that is wrong.
    pub fn parse(text: &str, folder: &Path) -> Result<WebFile, Vec<String>> {
        let mut file = Table::of_text(text).map_err(|error| vec![error])?;
        let (mut problems, mut warnings) = (Vec::new(), Vec::new());
        let mut tls = file.table("tls_server_config");
        let tls_server = match tls.is_empty() {
            true => None,
            false => TlsServer::read(&mut tls, folder, &mut warnings),
        };
        tls.finish(&mut problems);

        let mut http = file.table("http_server_config");
        let http2 = http.get("http2").unwrap_or(true);
        let mut allowed = http.table("headers");
        let headers = read_headers(&mut allowed);
        allowed.finish(&mut problems);
        http.finish(&mut problems);

        let users = read_users(&mut file);
        let mut limit = file.table("rate_limit");
        let interval: Option<Duration> = limit.get("interval");
        let burst: Option<usize> = limit.get("burst");
        let rate_limit = match (interval.unwrap_or_default(), burst.unwrap_or_default()) {
            (Duration::ZERO, _) | (_, 0) => None,
            (interval, burst) => Some(RateLimit { interval, burst }),
        };
        limit.finish(&mut problems);
        file.finish(&mut problems);
        match problems.is_empty() {
            true => Ok(WebFile { tls: tls_server, http2, headers, users, rate_limit, warnings }),
            false => Err(problems),
        }
    }
}

impl TlsServer {
    /// `None` if something is missing or wrong.
    fn read(from: &mut Table, folder: &Path, warnings: &mut Vec<String>) -> Option<TlsServer> {
        let certificate = pem(from, "cert", "cert_file", folder);
        let key = pem(from, "key", "key_file", folder);
        for (found, names) in [(&certificate, "cert_file or cert"), (&key, "key_file or key")] {
            if found.is_none() {
                from.wrong(names, "it is missing, and TLS needs a certificate with its key");
            }
        }
        let client_ca = pem(from, "client_ca", "client_ca_file", folder);
        let words = || ClientAuth::WORDS.iter().map(|(word, _)| *word).collect();
        let client_auth =
            from.choice("client_auth_type", |word| find(&ClientAuth::WORDS, word), words);
        let client_auth = client_auth.unwrap_or(ClientAuth::None);
        match &client_ca {
            Some(_) if client_auth == ClientAuth::None => {
                from.wrong("client_ca_file", "client_auth_type must say what it is for");
            }
            None if client_auth.verifies() => {
                from.wrong("client_auth_type", "it needs a client_ca_file to verify clients with");
            }
            _ => {}
        }
        let client_allowed_sans = from.texts("client_allowed_sans");
        if client_auth == ClientAuth::None && !client_allowed_sans.is_empty() {
            from.wrong("client_allowed_sans", "client_auth_type must ask for certificates then");
        }
        let min_version = version(from, "min_version").unwrap_or(TlsVersion::Tls12);
        let max_version = version(from, "max_version").unwrap_or(TlsVersion::Tls13);
        if min_version > max_version {
            from.wrong("min_version", "it is above max_version");
        }
        let cipher_suites = offered(from, "cipher_suites", &CIPHER_SUITES, warnings);
        if cipher_suites.as_ref().is_some_and(Vec::is_empty) && max_version == TlsVersion::Tls12 {
            from.wrong(
                "cipher_suites",
                "none of them is offered here, so that nobody could connect",
            );
        }
        let curves = offered(from, "curve_preferences", &CURVES, warnings);
        if curves.as_ref().is_some_and(Vec::is_empty) {
            from.wrong("curve_preferences", "none of them is offered here");
        }
        // Servers have made this choice by themselves for years.
        let _: Option<bool> = from.get("prefer_server_cipher_suites");
        Some(TlsServer {
            certificate: certificate?,
            key: key?,
            client_ca,
            client_auth,
            client_allowed_sans,
            min_version,
            max_version,
            cipher_suites: cipher_suites.unwrap_or_else(|| here(&CIPHER_SUITES)),
            curves: curves.unwrap_or_else(|| here(&CURVES)),
        })
    }

    /// The files it is read from.
    pub fn files(&self) -> Vec<&Path> {
        let pems = [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()];
        let files = pems.into_iter().flatten().map(|pem| match pem {
            Pem::File(path) => Some(&**path),
            Pem::Inline(_) => None,
        });
        files.flatten().collect()
    }
}

impl Pem {
    /// # Errors
    /// Says which file cannot be read, and why.
    pub fn read(&self) -> Result<Vec<u8>, String> {
        match self {
            Pem::Inline(text) => Ok(text.reveal().as_bytes().to_vec()),
            Pem::File(path) => std::fs::read(path)
                .map_err(|error| format!("cannot read {}: {error}", path.display())),
        }
    }
}

fn pem(from: &mut Table, inline: &'static str, file: &'static str, folder: &Path) -> Option<Pem> {
    match (from.text(inline), from.text(file)) {
        (Some(_), Some(_)) => {
            from.wrong(inline, &format!("either it or {file} can be given, not both"));
            None
        }
        (Some(text), None) => Some(Pem::Inline(Secret::new(text))),
        (None, Some(path)) => Some(Pem::File(folder.join(path))),
        (None, None) => None,
    }
}

fn find<T: Copy>(table: &[(&'static str, T)], word: &str) -> Option<T> {
    table.iter().find(|(other, _)| *other == word).map(|(_, value)| *value)
}

fn version(from: &mut Table, key: &'static str) -> Option<TlsVersion> {
    const VERSIONS: [(&str, Option<TlsVersion>); 4] = [
        ("TLS12", Some(TlsVersion::Tls12)),
        ("TLS13", Some(TlsVersion::Tls13)),
        ("TLS10", None),
        ("TLS11", None),
    ];
    let version = from.choice(key, |word| find(&VERSIONS, word), || vec!["TLS12", "TLS13"])?;
    if version.is_none() {
        from.wrong(key, "TLS 1.0 and 1.1 are broken, and not offered here; write TLS12 or TLS13");
    }
    version
}

/// The names in a list that are offered here; `None` if there is no list.
fn offered(
    from: &mut Table,
    key: &'static str,
    table: &[(&'static str, Offered)],
    warnings: &mut Vec<String>,
) -> Option<Vec<&'static str>> {
    let entry = |word: &str| table.iter().find(|(other, _)| *other == word).copied();
    let named = from.choices(key, entry, || table.iter().map(|(name, _)| *name).collect());
    for (name, _) in named.iter().filter(|(_, offered)| *offered == Offered::Never) {
        warnings.push(format!("{key}: {name} is not offered here, so it is left out"));
    }
    let here = named.iter().filter(|(_, offered)| *offered == Offered::Here);
    (!named.is_empty()).then(|| here.map(|(name, _)| *name).collect())
}

fn here(table: &[(&'static str, Offered)]) -> Vec<&'static str> {
    let here = table.iter().filter(|(_, offered)| *offered == Offered::Here);
    here.map(|(name, _)| *name).collect()
}

fn read_headers(from: &mut Table) -> Vec<(&'static str, String)> {
    let mut headers = Vec::new();
    for (name, values) in HEADERS {
        let Some(value) = from.text(name) else { continue };
        if !values.is_empty() && !values.contains(&&*value) {
            from.wrong(name, &format!("accepted are {}", values.join(" and ")));
        } else if !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            from.wrong(name, "a header holds printable ASCII only");
        } else {
            headers.push((name, value));
        }
    }
    headers
}

fn read_users(from: &mut Table) -> Vec<Account> {
    let mut users = Vec::new();
    for (name, value) in from.free_table("basic_auth_users") {
        let hash = super::setting::scalar(&value)
            .and_then(|text| PasswordHash::parse(&text).map_err(|error| error.to_string()));
        match hash {
            _ if name.contains(':') => {
                let reason = "a user name in basic authentication has no colon";
                from.wrong(&format!("basic_auth_users.{name}"), reason);
            }
            Err(reason) => from.wrong(&format!("basic_auth_users.{name}"), &reason),
            Ok(hash) => users.push(Account {
                name,
                rights: Rights::all(),
                scope: None,
                password: Some(hash),
                tokens: Vec::new(),
            }),
        }
    }
    users
}

/// A whole text file.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("cannot read it: {error}"))?;
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

/// The folder that file names in this file are relative to.
pub(super) fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

#[cfg(test)]
mod tests;
