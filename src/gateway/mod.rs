//! The use cases: push, scrape, delete, query, expire. There is no HTTP type here.

mod chunks;
mod group;
mod kept;
mod layouts;
pub mod limits;
mod load;
mod pool;
mod push;
mod query;
mod scrape;
mod scrapers;
mod shown;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;

use crate::clock::Clock;
pub use crate::delivery::{ClaimError, Key, PushId, Sequence, TextError, text as key_text};
use crate::delivery::{Delivery, Memory};
use crate::format::Timestamps;
use crate::groups::Groups;
pub use crate::groups::{Family as GroupFamily, Group, PushRefused, Replace};
use crate::model::exposition::Names;
use crate::model::{GaugeRule, Kind, Ttl, UntypedRule};
pub use crate::persistence::NotDurable;
use crate::persistence::{Commits, Ticket};
use crate::random;
pub use crate::rules::Selector;
use crate::rules::{FamilyRules, Rules};
pub use crate::store::{AdmitError, Removed, StoreLimit};
use crate::store::{SeriesRef, Store, seconds};
use crate::striped::Striped;
use crate::telemetry::{Cause, DeliveryUse, Limit, Telemetry};
pub use group::{GroupPushError, GroupPushRequest, GroupPushed};
pub use limits::{Limits, OverLimit};
pub use load::Loaded;
pub use push::{Identity, PushError, PushRequest, Pushed};
pub use query::{FamilyView, SeriesView};
pub use scrape::{Content, Scrape, ScrapeRequest};
pub use scrapers::Scraper;
pub use shown::{PUSH_FAILURE_TIME_HELP, PUSH_TIME_HELP};

/// How pushes, deletions and scrapes are handled. A reload can change it.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What to do with timestamps on samples.
    pub timestamps: Timestamps,
    pub gauge: GaugeRule,
    pub untyped: UntypedRule,
    /// A push may choose the gauge rule.
    pub merge_hint: bool,
    /// Deletions are carried out, not just acknowledged.
    pub delete: bool,
    pub rules: Rules,
    /// A push without an idempotency key is refused, where no rule says otherwise.
    pub require_key: bool,
    /// How long pushes with an identity are remembered.
    pub key_window_ms: i64,
    pub ttl_default: Ttl,
    /// The longest time to live that a push may ask for.
    pub ttl_client_max: Ttl,
    pub gzip_level: u32,
    /// How much of earlier scrapes is kept for later ones, in bytes; 0 keeps nothing.
    pub cache_bytes: usize,
    /// OpenMetrics scrapes show `_created` lines.
    pub created_samples: bool,
    /// The first scrape of each scraper that finds a series shows it at zero.
    pub zero_first: bool,
    /// The most native buckets that are shown of one series, unless a rule says otherwise.
    pub native_buckets: usize,
    /// Which names pushes to groups may contain.
    pub group_names: Names,
    pub limits: Limits,
}

/// The default configuration, but without limits.
impl Default for Settings {
    fn default() -> Settings {
        Settings {
            timestamps: Timestamps::Reject,
            gauge: GaugeRule::Last,
            untyped: UntypedRule::Sum,
            merge_hint: true,
            delete: true,
            rules: Rules::default(),
            require_key: false,
            key_window_ms: 600_000,
            ttl_default: Ttl::Never,
            ttl_client_max: Ttl::Never,
            gzip_level: 1,
            cache_bytes: 64 << 20,
            created_samples: false,
            zero_first: true,
            native_buckets: 160,
            group_names: Names::Legacy,
            limits: Limits::default(),
        }
    }
}

impl Settings {
    fn memory(&self) -> Memory {
        let most = |limit| if limit == 0 { usize::MAX } else { limit };
        Memory {
            window_ms: self.key_window_ms,
            keys_bytes: most(self.limits.remembered_keys_bytes),
            sources: most(self.limits.remembered_sources),
        }
    }

    /// How many native buckets may be shown of each series of a family.
    fn native_limit(&self, family: &str, kind: Kind) -> NativeLimit {
        let histogram = matches!(kind, Kind::Histogram | Kind::GaugeHistogram);
        let rules = match histogram && !self.rules.is_empty() {
            true => self.rules.for_family(family),
            false => FamilyRules::default(),
        };
        NativeLimit { default: self.native_buckets, rules }
    }
}

/// See [`Settings::native_limit`].
#[derive(Clone, Debug, Default)]
struct NativeLimit {
    default: usize,
    rules: FamilyRules,
}

impl NativeLimit {
    fn of(&self, series: &SeriesRef) -> usize {
        if self.rules.is_empty() {
            return self.default;
        }
        self.rules.decide(&series.labels()).native_buckets.map_or(self.default, NonZeroUsize::get)
    }
}

/// One gateway: its state, and everything that can be done with it.
#[derive(Debug)]
pub struct Gateway {
    commits: Arc<Commits>,
    store: Store,
    /// The groups that pushes replace, in pushgateway mode.
    groups: Option<Groups>,
    delivery: Delivery,
    settings: ArcSwap<Settings>,
    telemetry: Arc<Telemetry>,
    clock: Clock,
    /// Parse buffers, to be reused.
    #[expect(clippy::vec_box, reason = "taken out and put back with every push, and large")]
    buffers: Striped<Mutex<Vec<Box<push::Buffers>>>>,
    /// How many series were removed since the buffers last let go of removed ones.
    removed: AtomicUsize,
    /// Chunks of earlier scrapes, for later ones.
    kept: Arc<kept::Kept>,
    scrapers: scrapers::Scrapers,
    pool: pool::Pool,
    inflight_bytes: AtomicUsize,
    connections: Arc<AtomicUsize>,
}

impl Gateway {
    /// Keeps its state in memory only.
    pub fn new(settings: Settings, telemetry: Arc<Telemetry>) -> Gateway {
        Gateway::with_commits(settings, telemetry, Arc::default())
    }

    /// Its state survives restarts if a [`Committer`](crate::persistence::Committer) works on `commits`.
    pub fn with_commits(
        settings: Settings,
        telemetry: Arc<Telemetry>,
        commits: Arc<Commits>,
    ) -> Gateway {
        let clock = Clock::default();
        let gateway = Gateway {
            store: Store::new(commits.clone()),
            groups: None,
            delivery: Delivery::new(random::bytes(), clock.now().ms, commits.are_kept()),
            commits,
            settings: ArcSwap::from_pointee(settings),
            telemetry,
            clock,
            buffers: Striped::default(),
            removed: AtomicUsize::default(),
            kept: Arc::default(),
            scrapers: scrapers::Scrapers::default(),
            pool: pool::Pool::default(),
            inflight_bytes: AtomicUsize::default(),
            connections: Arc::default(),
        };
        gateway.show_limits();
        gateway
    }

    /// Switches to pushgateway mode, in which a push replaces unless it asks to be added up.
    pub fn with_groups(self) -> Gateway {
        let kept = self.commits.are_kept();
        let own = Telemetry::pushgateway_names();
        let groups = Groups::new(self.store.hasher().clone(), own, kept);
        Gateway { groups: Some(groups), ..self }
    }

    pub fn groups(&self) -> Option<&Groups> {
        self.groups.as_ref()
    }

    /// The settings in force. Do not hold on to them for long.
    pub fn settings(&self) -> Guard<Arc<Settings>> {
        self.settings.load()
    }

    /// Pushes that have begun keep the settings they began with.
    pub fn set_settings(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
        self.show_limits();
    }

    fn show_limits(&self) {
        let limits = self.settings().limits;
        for &limit in Limit::ALL {
            self.telemetry.set_limit(limit, limits.max(limit));
        }
    }

    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    pub fn shared_telemetry(&self) -> Arc<Telemetry> {
        self.telemetry.clone()
    }

    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    /// How many series a scrape shows.
    pub fn series_count(&self) -> usize {
        let size = self.groups.as_ref().map(Groups::size).unwrap_or_default();
        // Each group has two bookkeeping series.
        self.store.series_count() + size.series + 2 * size.groups
    }

    pub fn commits(&self) -> &Arc<Commits> {
        &self.commits
    }

    /// Whether changes can be made durable at present.
    ///
    /// # Errors
    /// If the last commit failed.
    pub fn check_writable(&self) -> Result<(), NotDurable> {
        self.commits.check()
    }

    /// Gives up on a commit that takes the disk too long. To be called now and then.
    pub fn lose_patience(&self) {
        if let Some(NotDurable(reason)) = self.commits.lose_patience() {
            self.telemetry.store_not_writable(&reason);
        }
    }

    /// Waits until the change that the ticket stands for may be acknowledged.
    ///
    /// # Errors
    /// If it could not be made durable.
    pub async fn safe(&self, ticket: Ticket) -> Result<(), NotDurable> {
        self.commits.safe(ticket).await
    }

    /// Removes the series first pushed under exactly this grouping key (canonical label text).
    pub fn delete_group(&self, key: &str, dry_run: bool) -> Removed {
        if !dry_run && !self.settings().delete {
            return Removed::default();
        }
        let removed = self.store.remove_group(key, dry_run);
        self.note_removed(Cause::Deleted, &removed, dry_run);
        removed
    }

    /// Removes the series that match any of the selectors.
    pub fn delete_matching(&self, selectors: &[Selector], dry_run: bool) -> Removed {
        let removed = self.store.remove_matching(dry_run, |name, labels| {
            selectors.iter().any(|selector| selector.matches(name, labels))
        });
        self.note_removed(Cause::Deleted, &removed, dry_run);
        removed
    }

    pub fn wipe(&self) -> Removed {
        let removed = self.store.remove_matching(false, |_, _| true);
        self.note_removed(Cause::Wiped, &removed, false);
        removed
    }

    /// Removes series whose time to live has passed, and forgets idempotency keys that are old enough.
    pub fn expire(&self) -> Removed {
        let now = self.clock.now();
        self.delivery.expire(now.ms, self.settings().memory());
        let now_ms = now.steady_ms();
        let seen_s = self.scrapers.all_have_seen_ms(now_ms).map_or(u32::MAX, seconds);
        let removed = self.store.remove_expired(seconds(now_ms), seen_s);
        self.note_removed(Cause::Expired, &removed, false);
        removed
    }

    fn delivery_used(&self) -> DeliveryUse {
        let window_ms = self.delivery.window_ms(self.clock.now().ms, self.settings().memory());
        DeliveryUse {
            keys: self.delivery.keys(),
            keys_bytes: self.delivery.keys_bytes(),
            sources: self.delivery.sources(),
            window_seconds: window_ms as f64 / 1000.0,
        }
    }

    fn note_removed(&self, cause: Cause, removed: &Removed, dry_run: bool) {
        /// Going through all buffers takes a while, and is worth it only after this many removals.
        const MANY: usize = 1024;
        if dry_run {
            return;
        }
        self.telemetry.series_removed(cause, removed.series);
        if self.removed.fetch_add(removed.series, Relaxed) + removed.series >= MANY {
            self.removed.store(0, Relaxed);
            for pool in self.buffers.all() {
                pool.lock().iter_mut().for_each(|buffers| buffers.forget_removed());
            }
        }
    }
}
