//! What the gateway tells about itself: metrics and log lines.
//!
//! Each event has one function here that counts it and, if people should know about it, logs it. Label
//! values are ours, never a client's. All handles are made at start, so counting a push or scrape costs a
//! few atomic additions.

mod labels;
pub mod log;
mod process;
mod pushgateway;
mod registry;
mod requests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::model::Kind;
pub use labels::{
    AuthRefusal, BodyEncoding, BodyFormat, Cause, CommitOutcome, Handler, Limit, Outcome,
};
use process::Process;
pub use pushgateway::{Method, PushgatewayHandler};
pub use registry::OwnSnapshot;
use registry::Registry;
use requests::Requests;

/// One of our metrics, as the README lists it.
#[derive(Clone, Copy, Debug)]
pub struct Described {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static str,
    pub help: &'static str,
}

macro_rules! described {
    ($($kind:ident $name:ident { $($label:ident),* } $help:literal)+) => {
        /// All of them, in the order of their names.
        pub const METRICS: &[Described] = &[$(Described {
            name: concat!("tallygate_", stringify!($name)),
            kind: Kind::$kind,
            labels: stringify!($($label),*),
            help: $help,
        }),+];
    };
}

described! {
    Counter auth_refusals_total { reason } "Requests refused because of who sent them, or because nobody could tell."
    Gauge build_info { version, revision } "Always 1; the labels tell what is running."
    Gauge config_last_reload_success_timestamp_seconds {} "When the configuration was last loaded."
    Gauge config_last_reload_successful {} "1 if the last attempt to load the configuration succeeded."
    Gauge connections {} "Open client connections."
    Counter connections_refused_total {} "Connections closed at once because limits.connections were open."
    Counter created_samples_dropped_total {} "Pushed _created pseudo samples, which are start times and not merged."
    Gauge dedupe_keys {} "Idempotency keys remembered."
    Gauge dedupe_sources {} "Sources of numbered pushes remembered, each of their epochs apart."
    Gauge dedupe_window_seconds {} "How far back idempotency keys are remembered; below push.key_window after a start without them, and when limits.remembered_keys_bytes is used up."
    Gauge families {} "Metric families stored."
    Gauge groups {} "Groups stored, in pushgateway mode."
    Counter http_requests_total { handler, code } "Answered requests."
    Gauge inflight_push_bytes {} "Bodies of pushes in flight, as received."
    Gauge limit { limit } "Configured limits; 0 is none."
    Counter limit_refusals_total { limit } "Pushes and connections refused by each limit."
    Gauge limit_used { limit } "How much of a limit on stored or open things is used."
    Counter process_cpu_seconds_total {} "User and system CPU time."
    Gauge process_max_fds {} "Limit of open file descriptors."
    Gauge process_open_fds {} "Open file descriptors."
    Gauge process_resident_memory_bytes {} "Resident memory."
    Gauge process_start_time_seconds {} "When the process started."
    Gauge process_virtual_memory_bytes {} "Virtual memory."
    Counter push_bodies_total { format, encoding } "Pushed bodies by format and content encoding."
    Counter push_bytes_total {} "Bytes of pushed bodies, as received."
    Histogram push_duration_seconds {} "From the whole body to the answer, of accepted pushes."
    Counter push_samples_total {} "Samples in accepted pushes."
    Counter pushes_replayed_total {} "Pushes that an earlier try had brought already; they are no part of pushes_total."
    Counter pushes_total { outcome } "Pushes by what became of them."
    Counter quantiles_dropped_total {} "Summary quantiles in accepted pushes; they cannot be added up."
    Counter scrape_bytes_total {} "Bytes of scrapes, as sent."
    Histogram scrape_duration_seconds {} "CPU time of encoding and compressing one scrape."
    Counter scrape_left_out_total { what } "Families and series left out of a scrape because their escaped names collide."
    Gauge series {} "Series stored; a histogram or summary is one."
    Counter series_born_total {} "Series created."
    Counter series_dropped_total {} "Pushed series left out by a rule."
    Counter series_removed_total { cause } "Series removed."
    Histogram store_commit_duration_seconds {} "From collecting what has changed until it was written and, where that is asked for, synced."
    Counter store_commits_total { outcome } "Commits, each of all pushes that came in during the one before."
    Gauge store_disk_bytes {} "Size of all files of the store."
    Gauge store_free_bytes {} "Space left on the file system of the store."
    Gauge store_load_seconds {} "How long loading the store took at start."
    Gauge store_loaded_series {} "Series that were loaded at start."
    Gauge store_pending_series {} "Series that have changed since the last commit."
    Gauge store_size_bytes {} "Size of the records in the store that are not outdated."
    Histogram store_sync_duration_seconds {} "How long the disk took to make a commit safe."
    Gauge store_writable {} "0 from a commit that fails until one succeeds."
    Gauge tls_cert_not_after_timestamp_seconds {} "When the first certificate of the server expires; only with TLS."
    Counter tls_handshake_failures_total {} "Connections that did not get through the TLS handshake."
    Gauge web_config_last_reload_successful {} "1 if the web configuration file and the users could be loaded the last time; only with such a file."
}

/// How much a log line quotes of a path, or of the reason why a push was refused.
const LOGGED_BYTES_MAX: usize = 300;

/// All our metrics, and the throttle of our log lines.
#[derive(Debug)]
pub struct Telemetry {
    registry: Registry,
    handles: Handles,
    started_ms: i64,
    requests: Requests,
    refusals: log::Throttle,
    pushgateway: pushgateway::Pushgateway,
}

/// Handles of everything that is counted. Where there are several, the label value is the index.
#[derive(Debug)]
struct Handles {
    pushes: Vec<Counter>,
    pushes_replayed: Counter,
    bodies: Vec<Counter>,
    push_bytes: Counter,
    push_samples: Counter,
    push_duration: Histogram,
    created_dropped: Counter,
    quantiles_dropped: Counter,
    series_dropped: Counter,
    series_born: Counter,
    series_removed: Vec<Counter>,
    limits: Vec<Gauge>,
    limit_refusals: Vec<Counter>,
    auth_refusals: Vec<Counter>,
    handshake_failures: Counter,
    limit_used: Vec<(Limit, Gauge)>,
    scrape_bytes: Counter,
    scrape_duration: Histogram,
    left_out_families: Counter,
    left_out_series: Counter,
    series: Gauge,
    families: Gauge,
    groups: Gauge,
    connections: Gauge,
    connections_refused: Counter,
    inflight_push_bytes: Gauge,
    dedupe_keys: Gauge,
    dedupe_sources: Gauge,
    dedupe_window: Gauge,
    reload_time: Gauge,
    reload_success: Gauge,
    commits: Vec<Counter>,
    commit_duration: Histogram,
    sync_duration: Histogram,
    writable: Gauge,
    disk_bytes: Gauge,
    free_bytes: Gauge,
    size_bytes: Gauge,
    load_seconds: Gauge,
    loaded_series: Gauge,
    pending_series: Gauge,
}

/// The sender of a request that is worth a line in the log.
#[derive(Clone, Debug, Default)]
pub struct Sender {
    /// Address and port.
    pub peer: String,
    /// `None` where users are not known.
    pub user: Option<Arc<str>>,
}

impl Sender {
    fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }
}

/// Used and shown together at a scrape.
#[derive(Clone, Copy, Debug, Default)]
pub struct Use {
    pub series: usize,
    pub families: usize,
    pub groups: usize,
    pub connections: usize,
    pub inflight_push_bytes: usize,
    pub pending_series: usize,
    pub delivery: DeliveryUse,
}

/// What is remembered of pushes that have an identity.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeliveryUse {
    pub keys: usize,
    pub keys_bytes: usize,
    /// Runs of sources.
    pub sources: usize,
    /// How far back the memory of keys reaches.
    pub window_seconds: f64,
}

impl Telemetry {
    /// `started_ms`: when the process started, milliseconds since the Unix epoch.
    pub fn new(started_ms: i64) -> Telemetry {
        let registry = Registry::default();
        for Described { name, kind, help, .. } in METRICS.iter().copied() {
            let (name, help) = (name.into(), help.into());
            match kind {
                Kind::Counter => metrics::Recorder::describe_counter(&registry, name, None, help),
                Kind::Histogram => {
                    metrics::Recorder::describe_histogram(&registry, name, None, help)
                }
                _ => metrics::Recorder::describe_gauge(&registry, name, None, help),
            }
        }
        let handles = metrics::with_local_recorder(&registry, || {
            let version = env!("CARGO_PKG_VERSION");
            gauge!("tallygate_build_info", "version" => version, "revision" => crate::REVISION)
                .set(1);
            gauge!("tallygate_process_start_time_seconds").set(started_ms as f64 / 1000.0);
            Handles::new()
        });
        handles.writable.set(1);
        Telemetry {
            registry,
            handles,
            started_ms,
            requests: Requests::new(),
            refusals: log::Throttle::default(),
            pushgateway: pushgateway::Pushgateway::default(),
        }
    }

    /// Milliseconds since the Unix epoch.
    pub fn started_ms(&self) -> i64 {
        self.started_ms
    }

    /// All our families as they are now, in the order of their names.
    pub fn snapshot(&self, used: Use) -> Vec<OwnSnapshot> {
        self.handles.series.set(used.series as f64);
        self.handles.families.set(used.families as f64);
        self.handles.groups.set(used.groups as f64);
        self.handles.connections.set(used.connections as f64);
        self.handles.pending_series.set(used.pending_series as f64);
        self.handles.inflight_push_bytes.set(used.inflight_push_bytes as f64);
        self.handles.dedupe_keys.set(used.delivery.keys as f64);
        self.handles.dedupe_sources.set(used.delivery.sources as f64);
        self.handles.dedupe_window.set(used.delivery.window_seconds);
        for (limit, gauge) in &self.handles.limit_used {
            gauge.set(match limit {
                Limit::Series => used.series,
                Limit::Families => used.families,
                Limit::Connections => used.connections,
                Limit::RememberedKeysBytes => used.delivery.keys_bytes,
                Limit::RememberedSources => used.delivery.sources,
                _ => used.inflight_push_bytes,
            } as f64);
        }
        self.note_process();
        metrics::with_local_recorder(&self.registry, || self.requests.tell());
        self.registry.snapshot()
    }

    fn note_process(&self) {
        let process = Process::read();
        metrics::with_local_recorder(&self.registry, || {
            if let Some(seconds) = process.cpu_seconds {
                // The facade has integer counters; a hundredth of a second would be lost.
                gauge!("tallygate_process_cpu_seconds_total").set(seconds);
            }
            for (name, value) in [
                ("tallygate_process_resident_memory_bytes", process.resident_bytes),
                ("tallygate_process_virtual_memory_bytes", process.virtual_bytes),
                ("tallygate_process_open_fds", process.open_fds),
                ("tallygate_process_max_fds", process.max_fds),
            ] {
                if let Some(value) = value {
                    gauge!(name).set(value);
                }
            }
        });
    }

    // === pushes

    pub fn push_accepted(&self, samples: usize, took: Duration) {
        self.handles.pushes[Outcome::Accepted as usize].increment(1);
        self.handles.push_samples.increment(samples as u64);
        self.handles.push_duration.record(took.as_secs_f64());
    }

    /// An earlier attempt of the push was applied.
    pub fn push_replayed(&self, group: &str) {
        self.handles.pushes_replayed.increment(1);
        let group = &*log::beginning(group, LOGGED_BYTES_MAX);
        tracing::debug!(group, "push was applied by an earlier try");
    }

    /// Samples of accepted pushes that are not merged, because they cannot be.
    pub fn samples_dropped(&self, created: usize, quantiles: usize) {
        add(&self.handles.created_dropped, created);
        add(&self.handles.quantiles_dropped, quantiles);
    }

    /// `group` is the grouping key, `peer` the address. The body never gets into the log.
    pub fn push_refused(&self, outcome: Outcome, group: &str, peer: &str, reason: &str) {
        self.handles.pushes[outcome as usize].increment(1);
        if let Some(unlogged) = self.refusals.allow() {
            let (outcome, group) = (outcome.word(), &*log::beginning(group, LOGGED_BYTES_MAX));
            let reason = &*log::beginning(reason, LOGGED_BYTES_MAX);
            tracing::warn!(outcome, group, peer, reason, unlogged, "push refused");
        }
    }

    pub fn push_body(&self, format: BodyFormat, encoding: BodyEncoding, bytes: usize) {
        self.handles.bodies[format as usize * BodyEncoding::ALL.len() + encoding as usize]
            .increment(1);
        self.handles.push_bytes.increment(bytes as u64);
    }

    pub fn series_dropped_by_rule(&self, series: usize) {
        add(&self.handles.series_dropped, series);
    }

    pub fn series_born(&self, series: usize) {
        add(&self.handles.series_born, series);
    }

    /// Counts removed series. Those that somebody asked for are logged by
    /// [`removal_requested`](Telemetry::removal_requested).
    pub fn series_removed(&self, cause: Cause, series: usize) {
        self.handles.series_removed[cause as usize].increment(series as u64);
        // Where label values come and go, this happens in every sweep.
        if cause == Cause::Expired && series > 0 {
            tracing::debug!(cause = cause.word(), series, "series removed");
        }
    }

    // === what people ask for

    pub fn removal_requested(&self, cause: Cause, series: usize, by: &Sender) {
        if series > 0 {
            let (cause, peer, user) = (cause.word(), &*by.peer, by.user());
            tracing::info!(cause, series, peer, user, "series removed");
        }
    }

    pub fn group_removal_requested(&self, cause: Cause, groups: usize, by: &Sender) {
        if groups > 0 {
            let (cause, peer, user) = (cause.word(), &*by.peer, by.user());
            tracing::info!(cause, groups, peer, user, "groups removed");
        }
    }

    pub fn stop_requested(&self, by: &Sender) {
        tracing::warn!(peer = by.peer, user = by.user(), "stop requested over HTTP");
    }

    pub fn reload_requested(&self, by: &Sender) {
        tracing::info!(peer = by.peer, user = by.user(), "reload requested over HTTP");
    }

    // === limits

    pub fn set_limit(&self, limit: Limit, max: usize) {
        self.handles.limits[limit as usize].set(max as f64);
    }

    pub fn limit_refused(&self, limit: Limit) {
        self.handles.limit_refusals[limit as usize].increment(1);
    }

    pub fn connection_refused(&self, max: usize) {
        self.handles.connections_refused.increment(1);
        self.limit_refused(Limit::Connections);
        if let Some(unlogged) = self.refusals.allow() {
            tracing::warn!(max, unlogged, "connection refused: limits.connections are open");
        }
    }

    // === who may do what

    pub fn auth_refused(&self, reason: AuthRefusal) {
        self.handles.auth_refusals[reason as usize].increment(1);
    }

    /// `peer` is the address. Credentials never get into the log.
    pub fn request_refused(&self, reason: AuthRefusal, peer: &str, path: &str) {
        self.auth_refused(reason);
        if let Some(unlogged) = self.refusals.allow() {
            let (reason, path) = (reason.word(), &*log::beginning(path, LOGGED_BYTES_MAX));
            tracing::warn!(reason, path, peer, unlogged, "request refused for who sent it");
        }
    }

    /// Anybody can cause this, so it is only logged for those who look for it.
    pub fn handshake_failed(&self, peer: Option<SocketAddr>, reason: &io::Error) {
        self.handles.handshake_failures.increment(1);
        let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
        tracing::debug!(peer, %reason, "no TLS connection");
    }

    /// The web configuration file and the users were loaded. The first certificate expires then.
    pub fn protection_loaded(&self, certificate_not_after_s: Option<u64>) {
        metrics::with_local_recorder(&self.registry, || {
            gauge!("tallygate_web_config_last_reload_successful").set(1);
            if let Some(seconds) = certificate_not_after_s {
                gauge!("tallygate_tls_cert_not_after_timestamp_seconds").set(seconds as f64);
            }
        });
    }

    pub fn protection_refused(&self, reason: &str) {
        metrics::with_local_recorder(&self.registry, || {
            gauge!("tallygate_web_config_last_reload_successful").set(0);
        });
        tracing::error!(reason, "web configuration and users not loaded");
    }

    // === scrapes

    pub fn scraped(&self, bytes: usize, took: Duration) {
        self.handles.scrape_bytes.increment(bytes as u64);
        self.handles.scrape_duration.record(took.as_secs_f64());
    }

    pub fn left_out_of_scrape(&self, families: usize, series: usize) {
        if families + series > 0 {
            self.handles.left_out_families.increment(families as u64);
            self.handles.left_out_series.increment(series as u64);
            if let Some(unlogged) = self.refusals.allow() {
                tracing::warn!(
                    families,
                    series,
                    unlogged,
                    "left out of a scrape: names are equal after escaping; scrape with escaping=allow-utf-8"
                );
            }
        }
    }

    // === the store

    pub fn store_loaded(&self, series: usize, took: Duration) {
        self.handles.loaded_series.set(series as f64);
        self.handles.load_seconds.set(took.as_secs_f64());
        tracing::info!(series, seconds = took.as_secs_f64(), "store loaded");
    }

    pub fn committed(&self, outcome: CommitOutcome, took: Duration) {
        self.handles.commits[outcome as usize].increment(1);
        self.handles.commit_duration.record(took.as_secs_f64());
    }

    pub fn synced(&self, took: Duration) {
        self.handles.sync_duration.record(took.as_secs_f64());
    }

    /// The size of all files, of the valid records in them, and of the free space.
    pub fn store_usage(&self, disk_bytes: u64, size_bytes: u64, free_bytes: Option<u64>) {
        self.handles.disk_bytes.set(disk_bytes as f64);
        self.handles.size_bytes.set(size_bytes as f64);
        if let Some(bytes) = free_bytes {
            self.handles.free_bytes.set(bytes as f64);
        }
    }

    /// To be called once when it happens.
    pub fn store_not_writable(&self, reason: &str) {
        self.handles.writable.set(0);
        tracing::error!(reason, "the store cannot be written: pushes are refused until it can");
    }

    /// To be called once when it happens.
    pub fn store_writable_again(&self) {
        self.handles.writable.set(1);
        tracing::warn!("the store can be written again: pushes are accepted");
    }

    // === requests and configuration

    pub fn answered(&self, handler: Handler, code: u16) {
        self.requests.count(handler, code);
    }

    pub fn configuration_loaded(&self, now_ms: i64) {
        self.handles.reload_success.set(1);
        self.handles.reload_time.set(now_ms as f64 / 1000.0);
    }

    pub fn configuration_refused(&self, reason: &str) {
        self.handles.reload_success.set(0);
        tracing::error!(reason, "configuration not loaded; the one in force stays");
    }
}

impl Handles {
    /// Registers with the recorder in force.
    fn new() -> Handles {
        let bodies = BodyFormat::ALL.iter().flat_map(|format| {
            BodyEncoding::ALL.iter().map(|encoding| {
                counter!("tallygate_push_bodies_total",
                    "format" => format.word(), "encoding" => encoding.word())
            })
        });
        let used = [
            Limit::Series,
            Limit::Families,
            Limit::InflightPushBytes,
            Limit::Connections,
            Limit::RememberedKeysBytes,
            Limit::RememberedSources,
        ];
        Handles {
            pushes: by(Outcome::ALL, |o| counter!("tallygate_pushes_total", "outcome" => o.word())),
            pushes_replayed: counter!("tallygate_pushes_replayed_total"),
            bodies: bodies.collect(),
            push_bytes: counter!("tallygate_push_bytes_total"),
            push_samples: counter!("tallygate_push_samples_total"),
            push_duration: histogram!("tallygate_push_duration_seconds"),
            created_dropped: counter!("tallygate_created_samples_dropped_total"),
            quantiles_dropped: counter!("tallygate_quantiles_dropped_total"),
            series_dropped: counter!("tallygate_series_dropped_total"),
            series_born: counter!("tallygate_series_born_total"),
            series_removed: by(
                Cause::ALL,
                |c| counter!("tallygate_series_removed_total", "cause" => c.word()),
            ),
            limits: by(Limit::ALL, |l| gauge!("tallygate_limit", "limit" => l.word())),
            limit_refusals: by(
                Limit::ALL,
                |l| counter!("tallygate_limit_refusals_total", "limit" => l.word()),
            ),
            auth_refusals: by(
                AuthRefusal::ALL,
                |r| counter!("tallygate_auth_refusals_total", "reason" => r.word()),
            ),
            handshake_failures: counter!("tallygate_tls_handshake_failures_total"),
            limit_used: used
                .map(|l| (l, gauge!("tallygate_limit_used", "limit" => l.word())))
                .into(),
            scrape_bytes: counter!("tallygate_scrape_bytes_total"),
            scrape_duration: histogram!("tallygate_scrape_duration_seconds"),
            left_out_families: counter!("tallygate_scrape_left_out_total", "what" => "family"),
            left_out_series: counter!("tallygate_scrape_left_out_total", "what" => "series"),
            series: gauge!("tallygate_series"),
            families: gauge!("tallygate_families"),
            groups: gauge!("tallygate_groups"),
            connections: gauge!("tallygate_connections"),
            connections_refused: counter!("tallygate_connections_refused_total"),
            inflight_push_bytes: gauge!("tallygate_inflight_push_bytes"),
            dedupe_keys: gauge!("tallygate_dedupe_keys"),
            dedupe_sources: gauge!("tallygate_dedupe_sources"),
            dedupe_window: gauge!("tallygate_dedupe_window_seconds"),
            reload_time: gauge!("tallygate_config_last_reload_success_timestamp_seconds"),
            reload_success: gauge!("tallygate_config_last_reload_successful"),
            commits: by(
                CommitOutcome::ALL,
                |o| counter!("tallygate_store_commits_total", "outcome" => o.word()),
            ),
            commit_duration: histogram!("tallygate_store_commit_duration_seconds"),
            sync_duration: histogram!("tallygate_store_sync_duration_seconds"),
            writable: gauge!("tallygate_store_writable"),
            disk_bytes: gauge!("tallygate_store_disk_bytes"),
            free_bytes: gauge!("tallygate_store_free_bytes"),
            size_bytes: gauge!("tallygate_store_size_bytes"),
            load_seconds: gauge!("tallygate_store_load_seconds"),
            loaded_series: gauge!("tallygate_store_loaded_series"),
            pending_series: gauge!("tallygate_store_pending_series"),
        }
    }
}

/// Does not touch the counter if there is nothing to add.
fn add(counter: &Counter, count: usize) {
    if count > 0 {
        counter.increment(count as u64);
    }
}

fn by<L: Copy, T>(values: &[L], make: impl Fn(L) -> T) -> Vec<T> {
    values.iter().map(|&value| make(value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_shown_is_described_and_the_other_way_round() {
        let telemetry = Telemetry::new(0);
        telemetry.answered(Handler::Push, 200);
        telemetry.protection_loaded(Some(0));
        let snapshot = telemetry.snapshot(Use::default());
        let shown: Vec<_> = snapshot.iter().map(|family| (&*family.name, family.kind)).collect();
        let described: Vec<_> = METRICS.iter().map(|metric| (metric.name, metric.kind)).collect();
        assert_eq!(shown, described);
        assert!(METRICS.is_sorted_by_key(|metric| metric.name));
    }

    #[test]
    fn label_values_are_in_the_order_of_their_tables() {
        assert!(Limit::ALL.iter().enumerate().all(|(at, limit)| *limit as usize == at));
    }
}
