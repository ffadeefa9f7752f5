//! The composition root: builds the parts from the configuration, starts them, and takes them down
//! in order. Logic worth testing lives in the parts.

mod import_groups;
mod open_files;
mod options;
mod security;
pub mod store;

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::{spawn_blocking, spawn_local};
use tokio::time::{sleep, timeout};

use crate::clock;
use crate::config::{Address, Config, Sources};
use crate::gateway::Gateway;
use crate::http::{self, HttpOptions, Servers, Services};
use crate::lifecycle::{Lifecycle, Phase};
use crate::persistence::disk::Disk;
use crate::persistence::{Committer, CommitterOptions, EngineError};
use crate::telemetry::Telemetry;
use crate::telemetry::log::{self, LevelHandle};
pub use import_groups::{ImportFailed, import_groups};
use security::{Security, SecurityError};

/// Why the gateway does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{0} cannot be resolved: {1}")]
    Address(String, io::Error),
    #[error("{0}")]
    Security(#[from] SecurityError),
    #[error("cannot listen on {0}{hint}", hint = listen_hint(.0))]
    Listen(io::Error),
    #[error("signals: {0}")]
    Signals(io::Error),
    #[error("{0}{hint}", hint = hint(.0))]
    Store(#[from] EngineError),
    #[error("the store cannot be loaded: the thread that loads it has panicked")]
    LoaderPanicked,
    #[error("no thread can be started: {0}")]
    Thread(io::Error),
    #[error("there is no store: give store.path")]
    NoStore,
    #[error("write: {0}")]
    Output(io::Error),
    #[error("nothing was brought in: {0}")]
    Import(String),
    #[error(transparent)]
    ImportGroups(#[from] ImportFailed),
}

/// What to do about a store that cannot be used.
fn hint(error: &EngineError) -> &'static str {
    match error {
        EngineError::Damage { .. } => {
            ". Nothing was changed. Restore a backup of the directory, or start with an empty one; \
             docs/durability.md tells more"
        }
        EngineError::Newer { .. } => ". Run the version that wrote it, or a newer one",
        EngineError::Locked { .. } => {
            ". Stop that process, or give this one a store.path of its own"
        }
        EngineError::Unsuited { .. } => {
            ". Start with --mode=pushgateway, or give another store.path"
        }
        EngineError::Missing { .. } => ". Give the directory that store.path names",
        EngineError::Io { .. } => "; store.path must be a directory that can be written to",
    }
}

/// What to do about an address that cannot be listened on.
fn listen_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            ". Stop the process that listens there, or set web.listen_address or \
             web.management_address to another port"
        }
        io::ErrorKind::PermissionDenied => {
            ". Ports below 1024 need the capability CAP_NET_BIND_SERVICE; 9091 does not"
        }
        io::ErrorKind::AddrNotAvailable => {
            ". web.listen_address and web.management_address must be addresses of this machine"
        }
        _ => "",
    }
}

/// What a reload works on.
struct Configured {
    sources: Sources,
    config: Mutex<Config>,
    /// Held during a reload, so that of two the later one reads the files last.
    reloading: Mutex<()>,
    gateway: Arc<Gateway>,
    level: LevelHandle,
    security: Arc<Security>,
}

/// Serves until a signal or `/-/quit`. `sources` are where `config` came from; a reload reads them again.
///
/// # Errors
/// If it cannot start, or the last commit fails.
pub fn run(config: Config, sources: Sources) -> Result<(), RunError> {
    http::block_on(serve(config, sources))
}

async fn serve(config: Config, sources: Sources) -> Result<(), RunError> {
    let level =
        log::init(options::level(&config), options::log_format(&config), http::NOISY_LIBRARY);
    log_start(&config);
    if let Some(warning) = open_files::allow_for(config.limits.connections) {
        tracing::warn!("{warning}");
    }
    let main =
        config.web.listen_address.iter().map(resolve).collect::<Result<Vec<_>, _>>()?.concat();
    let management = config.web.management_address.as_ref().map(resolve).transpose()?;
    let management = management.and_then(|addresses| addresses.first().copied());

    let started_ms = clock::unix_ms();
    let telemetry = Arc::new(Telemetry::new(started_ms));
    telemetry.configuration_loaded(started_ms);
    let security = Arc::new(Security::load(&config, telemetry.clone())?);
    let gateway = Arc::new(options::gateway(
        config.mode,
        options::settings(&config),
        telemetry,
        options::commits(&config),
    ));
    let lifecycle = Arc::new(Lifecycle::default());
    let http_options = options::http(&config);
    let server_options = options::server(&config);
    let drain_delay = config.web.drain_delay;
    let store = config.store_path().map(|path| Store {
        path,
        commit_interval: config.store.commit_interval,
        unused_file: import_groups::unused_file(&config),
        gateway: gateway.clone(),
        lifecycle: lifecycle.clone(),
    });
    let configured = Arc::new(Configured {
        sources,
        config: Mutex::new(config),
        reloading: Mutex::new(()),
        gateway: gateway.clone(),
        level,
        security: security.clone(),
    });
    configured.log_warnings();
    let services = Arc::new(services(&configured, lifecycle.clone(), http_options));

    // From here on no signal ends the process midway.
    let mut signals = Signals::listen()?;
    let mut loading = pin!(load(store));
    // Most stores are loaded before anybody can connect, so that no push is turned away. A large one is
    // loaded with the ports open, so that probes are answered.
    let loaded = timeout(LOADED_SOON, &mut loading).await.ok().transpose()?;
    if loaded.is_some() {
        lifecycle.set(Phase::Ready);
    }
    let servers = http::start(&services, &server_options, &main, management, security.tls())
        .map_err(RunError::Listen)?;
    log_addresses(&servers);
    let committer = match loaded {
        Some(committer) => committer,
        None => {
            let committer = tokio::select! {
                committer = &mut loading => committer?,
                _ = signals.end(&configured, &lifecycle) => {
                    servers.stop().await;
                    return Ok(());
                }
            };
            lifecycle.set(Phase::Ready);
            committer
        }
    };
    tracing::info!("ready");

    spawn_local(sweep(configured.clone()));
    spawn_local(watch_disk(gateway));
    spawn_local(security.watch());

    let drain = signals.end(&configured, &lifecycle).await;
    lifecycle.set(Phase::Draining);
    if drain {
        tracing::info!(delay_s = drain_delay.as_secs_f64(), "draining");
        // A second signal means that nobody wants to wait.
        tokio::select! {
            () = sleep(drain_delay) => {}
            _ = signals.end(&configured, &lifecycle) => {}
        }
    }
    servers.stop().await;
    if let Some(committer) = committer {
        committer.stop()?;
    }
    tracing::info!("stopped");
    Ok(())
}

fn log_start(config: &Config) {
    let store = config.store_path().map(|path| path.display().to_string());
    let store = store.as_deref().unwrap_or("none: state is in memory only");
    let (version, mode) = (env!("CARGO_PKG_VERSION"), config.mode.word());
    tracing::info!(version, mode, store, "starting");
}

fn log_addresses(servers: &Servers) {
    for address in &servers.main {
        tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "listening");
    }
    if let Some(address) = servers.management {
        tracing::info!(%address, "listening for management");
    }
}

fn services(
    configured: &Arc<Configured>,
    lifecycle: Arc<Lifecycle>,
    options: HttpOptions,
) -> Services {
    let (to_reload, to_show) = (configured.clone(), configured.clone());
    Services::new(
        configured.gateway.clone(),
        lifecycle,
        options,
        configured.security.guard().clone(),
        Arc::new(move || to_reload.reload()),
        Box::new(move || to_show.config.lock().flags()),
    )
}

/// How long to wait for the store before opening the ports.
const LOADED_SOON: Duration = Duration::from_secs(2);
/// How long the disk may take for a small commit. Clients wait for about as long.
const PATIENCE: Duration = Duration::from_secs(10);

/// A store to be loaded.
struct Store {
    path: PathBuf,
    commit_interval: Duration,
    /// A warning about a persistence file that should have been imported. It is due if there are no groups.
    unused_file: Option<String>,
    gateway: Arc<Gateway>,
    lifecycle: Arc<Lifecycle>,
}

/// Loads the store, if there is one, and starts to write what changes from then on.
///
/// It happens on a thread that the runtime does not wait for: the process can stop at once, however
/// large the store or slow the disk is.
async fn load(store: Option<Store>) -> Result<Option<Committer>, RunError> {
    let Some(store) = store else { return Ok(None) };
    let (sender, loaded) = oneshot::channel();
    let run = move || _ = sender.send(store.load());
    thread::Builder::new().name("loader".into()).spawn(run).map_err(RunError::Thread)?;
    loaded.await.unwrap_or(Err(RunError::LoaderPanicked)).map(Some)
}

impl Store {
    fn load(self) -> Result<Committer, RunError> {
        let Store { path, commit_interval, unused_file, gateway, lifecycle } = self;
        let started = Instant::now();
        let mut told = started;
        let mut engine = Disk::open(&path)?;
        let loaded = gateway.load(&mut engine, &mut |records| {
            lifecycle.set_loaded(records);
            if told.elapsed() >= Duration::from_secs(1) {
                told = Instant::now();
                tracing::info!(records, "loading the store");
            }
        })?;
        gateway.telemetry().store_loaded(loaded.series, started.elapsed());
        let groups = gateway.groups().map_or(0, |groups| groups.size().groups);
        if let Some(warning) = unused_file.filter(|_| groups == 0) {
            tracing::warn!("{warning}");
        }
        let (commits, telemetry) = (gateway.commits().clone(), gateway.shared_telemetry());
        Committer::start(
            Box::new(engine),
            loaded.commit,
            commits,
            Box::new(move |batch| gateway.collect(batch)),
            CommitterOptions { interval: commit_interval, patience: PATIENCE, telemetry },
        )
        .map_err(RunError::Thread)
    }
}

/// The signals we handle. From here on they no longer end the process by themselves.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> Result<Signals, RunError> {
        let listen = |kind| signal(kind).map_err(RunError::Signals);
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Waits until the process is told to stop, and reloads when asked to in the meantime. True if
    /// requests may still come in: after SIGTERM it takes load balancers a while to notice, after
    /// Ctrl-C nobody wants to wait.
    async fn end(&mut self, configured: &Configured, lifecycle: &Lifecycle) -> bool {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return true,
                _ = self.interrupt.recv() => return false,
                () = lifecycle.asked_to_quit() => return false,
                _ = self.hangup.recv() => {
                    // Logged and counted where it happens.
                    let _ = configured.reload();
                }
            }
        }
    }
}

/// Removes expired series from time to time.
async fn sweep(configured: Arc<Configured>) {
    loop {
        let interval = configured.config.lock().ttl.sweep_interval;
        sleep(interval).await;
        let gateway = configured.gateway.clone();
        let _ = spawn_blocking(move || gateway.expire()).await;
    }
}

/// Notices when the disk hangs.
async fn watch_disk(gateway: Arc<Gateway>) {
    loop {
        sleep(Duration::from_secs(1)).await;
        gateway.lose_patience();
    }
}

impl Configured {
    fn reload(&self) -> Result<String, String> {
        let _one_at_a_time = self.reloading.lock();
        let telemetry = self.gateway.telemetry();
        let new = self.sources.load().map_err(|errors| {
            let reason = errors.to_string();
            telemetry.configuration_refused(&reason);
            reason
        })?;
        // First, because it may fail: a mistake in one file leaves everything as it is.
        self.security.reload()?;
        let mut config = self.config.lock();
        let reload = config.reload(&new);
        *config = reload.config;
        self.gateway.set_settings(options::settings(&config));
        self.level.set(options::level(&config));
        drop(config);
        telemetry.configuration_loaded(self.gateway.clock().now().ms);
        let (applied, waiting) = (reload.applied.join(", "), reload.needs_restart.join(", "));
        tracing::info!(applied, needs_restart = waiting, "configuration loaded");
        self.log_warnings();
        Ok(report(&applied, &waiting))
    }

    fn log_warnings(&self) {
        for warning in self.config.lock().warnings() {
            tracing::warn!("{warning}");
        }
    }
}

fn report(applied: &str, waiting: &str) -> String {
    let mut report = match applied {
        "" => "Configuration loaded; nothing to change.\n".to_owned(),
        keys => format!("Configuration loaded; changed: {keys}.\n"),
    };
    if !waiting.is_empty() {
        report += &format!("These changes need a restart: {waiting}.\n");
    }
    report
}

/// The addresses to listen on. No host means every address of the machine, IPv4 and IPv6.
fn resolve(address: &Address) -> Result<Vec<SocketAddr>, RunError> {
    let Some(host) = address.host() else {
        return Ok(vec![any_address(address.port())]);
    };
    let found = (host, address.port()).to_socket_addrs();
    Ok(found.map_err(|error| RunError::Address(address.as_str().to_owned(), error))?.collect())
}

/// The unspecified IPv6 address, which accepts IPv4 as well; the IPv4 one where there is no IPv6.
fn any_address(port: u16) -> SocketAddr {
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
    match TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
        Ok(_) => (Ipv6Addr::UNSPECIFIED, port).into(),
        Err(_) => (Ipv4Addr::UNSPECIFIED, port).into(),
    }
}
