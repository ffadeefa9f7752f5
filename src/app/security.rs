//! The files of web configuration and users: loaded at start, watched, and loaded again when one of
//! them changes.
//!
//! Nothing that was closed is opened by mistake. Files that become invalid leave in force what there
//! was; in Pushgateway mode every request gets 500 until they are right again, as from the original.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::auth::{Policy, PolicyError};
use crate::config::{ClientAuth, Config, FileErrors, TlsServer, TlsVersion, UsersFile, WebFile};
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
}

/// What protects the main address.
pub(super) struct Security {
    web_file: Option<PathBuf>,
    users_file: Option<PathBuf>,
    telemetry: Arc<Telemetry>,
    guard: Arc<Guard>,
    tls: Option<Arc<Tls>>,
    /// How the files were when they were last loaded.
    seen: Mutex<Seen>,
}

/// Files, each with what changes when it does. One that is not there has none.
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
        if web_file.is_none() && users_file.is_none() {
            let (guard, seen) = (Arc::new(Guard::open()), Mutex::default());
            return Ok(Security { web_file, users_file, telemetry, guard, tls: None, seen });
        }
        let named: Vec<PathBuf> = web_file.iter().chain(&users_file).cloned().collect();
        let before = look(&named);
        let loaded = Loaded::from(web_file.as_deref(), users_file.as_deref())?;
        loaded.report(&telemetry);
        let security = Security {
            tls: loaded.tls.as_ref().map(|settings| Arc::new(Tls::new(settings))),
            guard: Arc::new(Guard::new(loaded.protection)),
            web_file,
            users_file,
            telemetry,
            seen: Mutex::new(look(&loaded.files)),
        };
        security.seen.lock().extend(before);
        Ok(security)
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
        let files: Vec<PathBuf> = self.seen.lock().keys().cloned().collect();
        if files.is_empty() {
            return Ok(());
        }
        // Looked at before they are read: a change in between is seen at the next look.
        let before = look(&files);
        let loaded = Loaded::from(self.web_file.as_deref(), self.users_file.as_deref());
        let loaded = loaded.and_then(|loaded| match (&self.tls, &loaded.tls) {
            (Some(_), None) => Err(SecurityError::TlsGone),
            _ => Ok(loaded),
        });
        match loaded {
            Ok(loaded) => {
                let mut seen = look(&loaded.files);
                seen.extend(before);
                seen.retain(|path, _| loaded.files.contains(path));
                *self.seen.lock() = seen;
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
                *self.seen.lock() = before;
                let reason = error.to_string();
                self.telemetry.protection_refused(&reason);
                Err(reason)
            }
        }
    }

    /// Loads the files again whenever one of them changes, for ever.
    pub(super) async fn watch(self: Arc<Security>) {
        if self.seen.lock().is_empty() {
            return;
        }
        loop {
            sleep(LOOK).await;
            let security = self.clone();
            let _ = spawn_blocking(move || {
                let seen = security.seen.lock().clone();
                let files: Vec<PathBuf> = seen.keys().cloned().collect();
                if look(&files) != seen {
                    // Logged and counted where it happens.
                    let _ = security.reload();
                }
            })
            .await;
        }
    }
}

/// What changes when a file does: also when another one takes its place, as where Kubernetes
/// replaces the files of a Secret.
fn look(files: &[PathBuf]) -> Seen {
    let state = |path: &Path| {
        let found = std::fs::metadata(path).ok()?;
        let size = i64::try_from(found.size()).unwrap_or(i64::MAX);
        let inode = found.ino().cast_signed();
        Some([found.ctime(), found.ctime_nsec(), found.mtime(), size, inode])
    };
    files.iter().map(|path| (path.clone(), state(path))).collect()
}

impl Loaded {
    fn from(web_file: Option<&Path>, users_file: Option<&Path>) -> Result<Loaded, SecurityError> {
        let web = web_file.map(WebFile::load).transpose()?;
        let users = users_file.map(UsersFile::load).transpose()?;
        let mut files: Vec<PathBuf> =
            web_file.iter().chain(&users_file).map(|path| path.to_path_buf()).collect();
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
        // A file of users without any lets nobody in: somebody has asked for a check.
        let closed = users.is_some() || !accounts.is_empty();
        let mut anonymous = Default::default();
        if let Some(users) = users {
            accounts.extend(users.accounts);
            anonymous = users.anonymous;
            files.extend(users.token_files);
        }
        if closed {
            protection.policy = Some(Arc::new(Policy::new(accounts, anonymous)?));
        }
        Ok(Loaded { protection, tls, files, warnings })
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
