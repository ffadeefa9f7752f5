//! The composition root: builds the parts from the configuration, starts them, and takes them down
//! in order. Logic worth testing lives in the parts.

mod import_groups;
mod open_files;
mod security;
pub mod store;

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinHandle, spawn_blocking, spawn_local};
use tokio::time::{sleep, timeout};
use tracing::level_filters::LevelFilter;

use crate::config::{self, Address, Config, Sources};
use crate::format::Timestamps;
use crate::gateway::{Gateway, Limits, Loaded, Settings};
use crate::http::{self, HttpOptions, PushgatewayOptions, ServerOptions, Services, StatusCode};
use crate::lifecycle::{Lifecycle, Phase};
use crate::model::exposition::Names;
use crate::persistence::disk::Disk;
use crate::persistence::{Ack, Commits, Committer, CommitterOptions, EngineError};
use crate::store::StoreLimits;
use crate::telemetry::Telemetry;
use crate::telemetry::log::{self, LevelHandle};
pub use import_groups::{ImportFailed, import_groups};
use security::{Security, SecurityError};

/// Why the gateway does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{0} is no address of this machine: {1}")]
    Address(String, io::Error),
    #[error("{0}")]
    Security(#[from] SecurityError),
    #[error("cannot listen on {0}{hint}", hint = listen_hint(.0))]
    Listen(io::Error),
    #[error("signals: {0}")]
    Signals(io::Error),
    #[error("{0}{hint}", hint = hint(.0))]
    Store(#[from] EngineError),
    #[error("the store cannot be loaded: {0}")]
    Load(String),
    #[error("there is no store: give store.path")]
    NoStore,
    #[error("write: {0}")]
    Output(io::Error),
    #[error("nothing was brought in: {0}")]
    Import(String),
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

/// What can be loaded again while running.
struct Configured {
    sources: Sources,
    config: Mutex<Config>,
    gateway: Arc<Gateway>,
    level: LevelHandle,
    security: Arc<Security>,
}

/// Serves until a signal or `/-/quit`. `sources` are where `config` came from, for reloading.
///
/// # Errors
/// If it cannot listen.
pub fn run(config: Config, sources: Sources) -> Result<(), RunError> {
    http::block_on(serve(config, sources))
}

async fn serve(config: Config, sources: Sources) -> Result<(), RunError> {
    let level = log::init(level(&config), log_format(&config), http::NOISY_LIBRARY);
    let mode = match config.mode {
        config::Mode::Aggregate => "aggregate",
        config::Mode::Pushgateway => "pushgateway",
    };
    let store = config.store_path().map(|path| path.display().to_string());
    let store = store.as_deref().unwrap_or("none: state is in memory only");
    tracing::info!(version = env!("CARGO_PKG_VERSION"), mode, store, "starting");
    if let Some(warning) = open_files::allow_for(config.limits.connections) {
        tracing::warn!("{warning}");
    }
    let main =
        config.web.listen_address.iter().map(resolve).collect::<Result<Vec<_>, _>>()?.concat();
    let management = config.web.management_address.as_ref().map(resolve).transpose()?;
    let management = management.and_then(|addresses| addresses.first().copied());

    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let started_ms = i64::try_from(since.as_millis()).unwrap_or_default();
    let telemetry = Arc::new(Telemetry::new(started_ms));
    telemetry.configuration_loaded(started_ms);
    let security = Arc::new(Security::load(&config, telemetry.clone())?);
    let commits = match config.store_path() {
        Some(_) => Commits::new(ack(&config)),
        None => Commits::default(),
    };
    let commits = Arc::new(commits);
    let gateway = Gateway::with_commits(settings(&config), telemetry, commits);
    let gateway = Arc::new(match config.mode {
        config::Mode::Aggregate => gateway,
        config::Mode::Pushgateway => gateway.with_groups(),
    });
    let lifecycle = Arc::new(Lifecycle::default());
    let (options, server, web) =
        (http_options(&config), server_options(&config), config.web.clone());
    let (store, commit_interval) = (config.store_path(), config.store.commit_interval);
    let unused = import_groups::unused_file(&config);
    let configured = Arc::new(Configured {
        sources,
        config: Mutex::new(config),
        gateway: gateway.clone(),
        level,
        security: security.clone(),
    });
    configured.log_warnings();

    let services = Arc::new(Services::new(
        gateway.clone(),
        lifecycle.clone(),
        options,
        security.guard().clone(),
        {
            let configured = configured.clone();
            Box::new(move || configured.reload())
        },
        {
            let configured = configured.clone();
            Box::new(move || configured.config.lock().flags())
        },
    ));
    // From here on no signal ends the process midway.
    let mut signals = Signals::listen()?;
    let mut loading =
        store.map(|path| Loading::begin(path, gateway.clone(), lifecycle.clone(), unused));
    // Mostly it is loaded before anybody can connect, and no push is turned away. What takes longer
    // is waited for with open doors, so that probes are answered.
    let loaded = match &mut loading {
        Some(loading) => loading.within(LOADED_SOON).await.transpose()?,
        None => None,
    };
    let mut committer = None;
    if let Some(opened) = loaded {
        committer = Some(opened.commit(&gateway, commit_interval)?);
        loading = None;
    }
    if loading.is_none() {
        lifecycle.set(Phase::Ready);
    }
    let servers = http::start(&services, &server, &main, management, security.tls())
        .map_err(RunError::Listen)?;
    for address in &servers.main {
        tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "listening");
    }
    if let Some(address) = servers.management {
        tracing::info!(%address, "listening for management");
    }
    if let Some(loading) = &mut loading {
        tokio::select! {
            opened = loading.end() => committer = Some(opened?.commit(&gateway, commit_interval)?),
            _ = signals.end(&configured, &lifecycle) => {
                servers.stop().await;
                return Ok(());
            }
        }
        lifecycle.set(Phase::Ready);
    }
    tracing::info!("ready");

    spawn_local(sweep(configured.clone()));
    spawn_local(watch_disk(gateway));
    spawn_local(security.watch());

    let drain = signals.end(&configured, &lifecycle).await;
    lifecycle.set(Phase::Draining);
    if drain {
        tracing::info!(delay_s = web.drain_delay.as_secs_f64(), "draining");
        // Who asks a second time does not want to wait.
        tokio::select! {
            () = sleep(web.drain_delay) => {}
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

/// How long to load before listening.
const LOADED_SOON: Duration = Duration::from_secs(2);

/// A store that is being loaded, on a thread of its own.
struct Loading(JoinHandle<Result<Opened, EngineError>>);

/// A store that is loaded.
struct Opened {
    engine: Disk,
    loaded: Loaded,
}

impl Loading {
    /// `unused` is told if there are no groups.
    fn begin(
        path: PathBuf,
        gateway: Arc<Gateway>,
        lifecycle: Arc<Lifecycle>,
        unused: Option<String>,
    ) -> Loading {
        Loading(spawn_blocking(move || {
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
            if let Some(unused) = unused.filter(|_| groups == 0) {
                tracing::warn!("{unused}");
            }
            Ok(Opened { engine, loaded })
        }))
    }

    /// `None` if it takes longer.
    async fn within(&mut self, time: Duration) -> Option<Result<Opened, RunError>> {
        timeout(time, self.end()).await.ok()
    }

    async fn end(&mut self) -> Result<Opened, RunError> {
        let done = (&mut self.0).await;
        Ok(done.map_err(|error| RunError::Load(error.to_string()))??)
    }
}

/// How long the disk may take for a small commit. Clients wait for about as long.
const PATIENCE: Duration = Duration::from_secs(10);

impl Opened {
    /// From now on what changes is written.
    fn commit(self, gateway: &Arc<Gateway>, interval: Duration) -> Result<Committer, RunError> {
        let Opened { engine, loaded } = self;
        let telemetry = gateway.shared_telemetry();
        let collected = gateway.clone();
        let committer = Committer::start(
            Box::new(engine),
            loaded.commit,
            gateway.commits().clone(),
            Box::new(move |batch| collected.collect(batch)),
            CommitterOptions { interval, patience: PATIENCE, telemetry },
        );
        committer.map_err(|error| RunError::Load(error.to_string()))
    }
}

/// The signals that concern us. From the first one on they no longer end the process by themselves.
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

    /// Until the process is told to stop; reloads on the way. True if others may still send
    /// requests: after SIGTERM it takes a while until load balancers have noticed, after Ctrl-C
    /// nobody waits.
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

/// Forgets, again and again, what nobody pushes.
async fn sweep(configured: Arc<Configured>) {
    loop {
        let interval = configured.config.lock().ttl.sweep_interval;
        sleep(interval).await;
        let gateway = configured.gateway.clone();
        let _ = spawn_blocking(move || gateway.expire()).await;
    }
}

/// Looks whether the disk hangs.
async fn watch_disk(gateway: Arc<Gateway>) {
    loop {
        sleep(Duration::from_secs(1)).await;
        gateway.lose_patience();
    }
}

impl Configured {
    fn reload(&self) -> Result<String, String> {
        let telemetry = self.gateway.telemetry();
        let new = self.sources.load().map_err(|errors| {
            let reason = errors.to_string();
            telemetry.configuration_refused(&reason);
            reason
        })?;
        // First, because it may refuse: what is wrong in one file keeps all as it is.
        self.security.reload()?;
        let mut config = self.config.lock();
        let reload = config.reload(&new);
        *config = reload.config;
        self.gateway.set_settings(settings(&config));
        self.level.set(level(&config));
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

/// All addresses of one listener. No host means every address of the machine, IPv4 and IPv6.
fn resolve(address: &Address) -> Result<Vec<SocketAddr>, RunError> {
    let Some(host) = address.host() else {
        return Ok(vec![any_address(address.port())]);
    };
    let found = (host, address.port()).to_socket_addrs();
    Ok(found.map_err(|error| RunError::Address(address.as_str().to_owned(), error))?.collect())
}

/// The IPv6 one takes IPv4 as well, where the machine has IPv6 at all.
fn any_address(port: u16) -> SocketAddr {
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
    match TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
        Ok(_) => (Ipv6Addr::UNSPECIFIED, port).into(),
        Err(_) => (Ipv4Addr::UNSPECIFIED, port).into(),
    }
}

// === the configuration, as each part wants it

fn settings(config: &Config) -> Settings {
    let limits = &config.limits;
    Settings {
        timestamps: match config.push.timestamps {
            config::Timestamps::Reject => Timestamps::Reject,
            config::Timestamps::Ignore => Timestamps::Ignore,
        },
        gauge: config.push.gauge,
        untyped: config.push.untyped,
        merge_hint: config.push.merge_hint,
        delete: config.push.delete == config::Delete::Exact,
        rules: config.rules.clone(),
        require_key: config.push.require_key,
        key_window_ms: i64::try_from(config.push.key_window.as_millis()).unwrap_or(i64::MAX),
        ttl_default: config.ttl.default,
        ttl_client_max: config.ttl.client_max,
        gzip_level: config.scrape.gzip_level as u32,
        cache_bytes: config.scrape.cache_bytes.bytes(),
        created_samples: config.scrape.created_samples,
        zero_first: config.scrape.zero_first,
        native_buckets: config.scrape.native_buckets,
        group_names: match config.push.enable_utf8_names {
            true => Names::Utf8,
            false => Names::Legacy,
        },
        limits: Limits {
            body_bytes: limits.body_bytes.bytes(),
            decoded_body_bytes: limits.decoded_body_bytes.bytes(),
            samples_per_push: limits.samples_per_push,
            labels_per_series: limits.labels_per_series,
            label_name_bytes: limits.label_name_bytes.bytes(),
            label_value_bytes: limits.label_value_bytes.bytes(),
            metric_name_bytes: limits.metric_name_bytes.bytes(),
            store: StoreLimits {
                series: limits.series,
                series_per_job: limits.series_per_job,
                families: limits.families,
                bucket_bounds: limits.bucket_bounds,
            },
            inflight_push_bytes: limits.inflight_push_bytes.bytes(),
            connections: limits.connections,
            header_bytes: limits.header_bytes.bytes(),
            remembered_keys_bytes: limits.remembered_keys_bytes.bytes(),
            remembered_sources: limits.remembered_sources,
        },
    }
}

fn ack(config: &Config) -> Ack {
    match config.store.ack {
        config::StoreAck::Synced => Ack::Synced,
        config::StoreAck::Written => Ack::Written,
        config::StoreAck::Memory => Ack::Memory,
    }
}

fn http_options(config: &Config) -> HttpOptions {
    HttpOptions {
        route_prefix: config.web.route_prefix.as_str().to_owned(),
        push_success: match config.push.success_code {
            config::SuccessCode::Ok => StatusCode::OK,
            config::SuccessCode::Accepted => StatusCode::ACCEPTED,
        },
        enable_lifecycle: config.web.enable_lifecycle,
        enable_admin_api: config.web.enable_admin_api,
        read_body_timeout: config.web.read_body_timeout,
        own_metrics_apart: config.web.management_address.is_some(),
        scrapes_max: config.scrape.max_in_flight,
        external_path: match &config.web.external_url {
            Some(url) => url.path().to_owned(),
            None => config.web.route_prefix.as_str().to_owned(),
        },
        pushgateway: (config.mode == config::Mode::Pushgateway).then(|| PushgatewayOptions {
            telemetry_path: config.web.telemetry_path.as_str().to_owned(),
            consistency_unchecked: config.push.disable_consistency_check,
            allow_mode: config.push.allow_mode,
        }),
        cors_allowed_origins: config.web.cors_allowed_origins.as_slice().to_vec(),
    }
}

fn server_options(config: &Config) -> ServerOptions {
    ServerOptions {
        workers: config.web.workers,
        keep_alive: config.web.keep_alive,
        read_header_timeout: config.web.read_header_timeout,
        write_stall_timeout: config.web.write_stall_timeout,
        shutdown_timeout: config.web.shutdown_timeout.max(Duration::from_secs(1)),
    }
}

fn level(config: &Config) -> LevelFilter {
    match config.log.level {
        config::LogLevel::Error => LevelFilter::ERROR,
        config::LogLevel::Warn => LevelFilter::WARN,
        config::LogLevel::Info => LevelFilter::INFO,
        config::LogLevel::Debug => LevelFilter::DEBUG,
        config::LogLevel::Trace => LevelFilter::TRACE,
    }
}

fn log_format(config: &Config) -> log::LogFormat {
    match config.log.format {
        config::LogFormat::Logfmt => log::LogFormat::Logfmt,
        config::LogFormat::Json => log::LogFormat::Json,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_alone_has_the_defaults_of_the_default_file() {
        let config = Config::from_yaml("").expect("the defaults are right");
        let expected = Settings { limits: Limits::default(), ..settings(&config) };
        assert_eq!(Settings::default(), expected);
    }
}
