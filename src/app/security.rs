//! The files of web configuration and users: loaded at start, watched, and loaded again when one of
//! them changes.
//!
//! A mistake never opens what was closed. When a file becomes invalid, the settings in force stay; in
//! pushgateway mode every request gets 500 until the file is right again, as from the Pushgateway.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::auth::{PasswordMemory, Policy, PolicyError, Rights};
use crate::config::{
    ClientAuth, Config, FileErrors, Mode, TlsServer, TlsVersion, UsersFile, WebFile,
};
use crate::http::{ClientCertificates, Guard, Protection, Tls, TlsError, TlsOptions, TlsSettings};
use crate::telemetry::Telemetry;

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    #[error(transparent)]
    File(#[from] FileErrors),
    #[error("{path}: {error}", path = .0.display(), error = .1)]
    Tls(PathBuf, TlsError),
    #[error("{path}: {reason}", path = .0.display(), reason = .1)]
    Unreadable(PathBuf, String),
    #[error("users: {0}")]
    Policy(#[from] PolicyError),
    #[error("TLS cannot be turned off while running")]
    TlsGone,
    #[error("the last user cannot go while running, since that would let everybody in")]
    UsersGone,
}

/// What protects the main address.
pub(super) struct Security {
    web_file: Option<PathBuf>,
    users_file: Option<PathBuf>,
    /// Every request gets 500 while the files cannot be used.
    strict: bool,
    telemetry: Arc<Telemetry>,
    guard: Arc<Guard>,
    tls: Option<Arc<Tls>>,
    passwords: PasswordMemory,
    state: Mutex<State>,
}

/// The result of the last attempt to load the files.
#[derive(Default)]
struct State {
    /// The files as they were then.
    seen: Seen,
    /// Why they could not be used.
    failure: Option<String>,
    /// Requests need credentials.
    closed: bool,
}

/// Files with something that changes whenever they do; `None` for a missing file.
type Seen = BTreeMap<PathBuf, Option<[i64; 5]>>;

/// What the files say.
struct Loaded {
    protection: Protection,
    tls: Option<TlsSettings>,
    files: Vec<PathBuf>,
    warnings: Vec<String>,
}

impl Security {
    /// # Errors
    /// If a file cannot be read or used.
    pub(super) fn load(
        config: &Config,
        telemetry: Arc<Telemetry>,
    ) -> Result<Security, SecurityError> {
        let (web_file, users_file) = (config.web.config_file.clone(), config.auth.file.clone());
        let mut security = Security {
            web_file,
            users_file,
            strict: config.mode == Mode::Pushgateway,
            telemetry,
            guard: Arc::new(Guard::open()),
            tls: None,
            passwords: PasswordMemory::default(),
            state: Mutex::default(),
        };
        let named = security.named();
        if named.is_empty() {
            return Ok(security);
        }
        let before = look(&named);
        let loaded = security.read()?;
        loaded.report(&security.telemetry);
        security.tls = loaded.tls.as_ref().map(|settings| Arc::new(Tls::new(settings)));
        security.state = Mutex::new(loaded.state(before));
        security.guard = Arc::new(Guard::new(loaded.protection));
        Ok(security)
    }

    /// The files that the configuration names.
    fn named(&self) -> Vec<PathBuf> {
        self.web_file.iter().chain(&self.users_file).cloned().collect()
    }

    pub(super) fn guard(&self) -> &Arc<Guard> {
        &self.guard
    }

    /// `None` where the main address is plain.
    pub(super) fn tls(&self) -> Option<&Arc<Tls>> {
        self.tls.as_ref()
    }

    /// Loads the files again. What they say holds for the next request and the next handshake.
    ///
    /// # Errors
    /// Says what is wrong with them; see the module for what then holds.
    pub(super) fn reload(&self) -> Result<(), String> {
        if self.named().is_empty() {
            return Ok(());
        }
        let mut state = self.state.lock();
        // Look before reading: a change in between is then noticed at the next look.
        let before = look(&state.seen.keys().cloned().collect::<Vec<_>>());
        let loaded = self.read().and_then(|loaded| {
            if self.tls.is_some() && loaded.tls.is_none() {
                Err(SecurityError::TlsGone)
            } else if state.closed && loaded.protection.policy.is_none() {
                Err(SecurityError::UsersGone)
            } else {
                Ok(loaded)
            }
        });
        match loaded {
            Ok(loaded) => {
                *state = loaded.state(before);
                match (&self.tls, &loaded.tls) {
                    (Some(tls), Some(settings)) => tls.replace(settings),
                    (None, Some(_)) => {
                        tracing::warn!("TLS can be turned on only with the next start");
                    }
                    _ => {}
                }
                loaded.report(&self.telemetry);
                self.guard.replace(loaded.protection);
                tracing::info!("web configuration and users loaded");
                Ok(())
            }
            Err(error) => {
                let reason = error.to_string();
                if state.failure.as_ref() != Some(&reason) {
                    self.telemetry.protection_refused(&reason);
                }
                if self.strict {
                    self.guard.set_broken();
                }
                state.seen = before;
                state.failure = Some(reason.clone());
                Err(reason)
            }
        }
    }

    /// Loads the files again whenever one of them changes. Never ends. As long as they cannot be used it
    /// tries every time: a file that was missing is not among those that are watched.
    pub(super) async fn watch(self: Arc<Security>) {
        if self.named().is_empty() {
            return;
        }
        loop {
            sleep(LOOK).await;
            let security = self.clone();
            let _ = spawn_blocking(move || {
                if security.is_stale() {
                    // Logged and counted where it happens.
                    let _ = security.reload();
                }
            })
            .await;
        }
    }

    fn is_stale(&self) -> bool {
        let state = self.state.lock();
        let files: Vec<PathBuf> = state.seen.keys().cloned().collect();
        state.failure.is_some() || look(&files) != state.seen
    }
}

/// Times, size and inode, so that a file that takes the place of another is noticed, too. That is how
/// Kubernetes replaces the files of a Secret.
fn look(files: &[PathBuf]) -> Seen {
    let state = |path: &Path| {
        let found = std::fs::metadata(path).ok()?;
        let size = i64::try_from(found.size()).unwrap_or(i64::MAX);
        let inode = found.ino().cast_signed();
        Some([found.ctime(), found.ctime_nsec(), found.mtime(), size, inode])
    };
    files.iter().map(|path| (path.clone(), state(path))).collect()
}

impl Security {
    fn read(&self) -> Result<Loaded, SecurityError> {
        let web_file = self.web_file.as_deref();
        let web = web_file.map(WebFile::load).transpose()?;
        let users = self.users_file.as_deref().map(UsersFile::load).transpose()?;
        let mut files = self.named();
        let mut protection = Protection::default();
        let (mut tls, mut warnings, mut accounts) = (None, Vec::new(), Vec::new());
        if let (Some(path), Some(web)) = (web_file, web) {
            if let Some(server) = &web.tls {
                files.extend(server.files().into_iter().map(Path::to_path_buf));
                tls = Some(tls_settings(path, server, web.http2)?);
            }
            protection.headers = web.headers;
            protection.rate_limit = web.rate_limit.map(|limit| (limit.interval, limit.burst));
            warnings = web.warnings;
            accounts = web.users;
        }
        // A file without users lets nobody in: whoever configured it wants requests to be checked.
        let closed = users.is_some() || !accounts.is_empty();
        let mut anonymous = Rights::default();
        if let Some(users) = users {
            accounts.extend(users.accounts);
            anonymous = users.anonymous;
            files.extend(users.token_files);
        }
        if closed {
            protection.policy =
                Some(Arc::new(Policy::new(accounts, anonymous, self.passwords.clone())?));
        }
        Ok(Loaded { protection, tls, files, warnings })
    }
}

impl Loaded {
    /// `before` are some of the files as they were before they were read.
    fn state(&self, before: Seen) -> State {
        let mut seen = look(&self.files);
        seen.extend(before.into_iter().filter(|(path, _)| self.files.contains(path)));
        State { seen, failure: None, closed: self.protection.policy.is_some() }
    }

    fn report(&self, telemetry: &Telemetry) {
        for warning in &self.warnings {
            tracing::warn!("web configuration file: {warning}");
        }
        telemetry.protection_loaded(self.tls.as_ref().map(|settings| settings.not_after_s));
    }
}

fn tls_settings(
    path: &Path,
    server: &TlsServer,
    http2: bool,
) -> Result<TlsSettings, SecurityError> {
    let unreadable = |reason| SecurityError::Unreadable(path.to_owned(), reason);
    let roots = server.client_ca.as_ref().map(|pem| pem.read()).transpose().map_err(unreadable)?;
    let asks = server.client_auth;
    let options = TlsOptions {
        certificates: server.certificate.read().map_err(unreadable)?,
        key: server.key.read().map_err(unreadable)?,
        clients: ClientCertificates {
            asked: asks != ClientAuth::None,
            required: matches!(asks, ClientAuth::RequireAny | ClientAuth::RequireAndVerify),
            roots: roots.filter(|_| asks.verifies()),
            allowed_sans: server.client_allowed_sans.clone(),
        },
        tls12: server.min_version == TlsVersion::Tls12,
        tls13: server.max_version == TlsVersion::Tls13,
        cipher_suites: server.cipher_suites.clone(),
        curves: server.curves.clone(),
        http2,
    };
    TlsSettings::new(&options).map_err(|error| SecurityError::Tls(path.to_owned(), error))
}
