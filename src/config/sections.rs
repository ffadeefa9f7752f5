//! The sections of the configuration, as the program uses them.
//!
//! What each key means is documented in `config/default.yaml` and nowhere else. From one list of keys,
//! `section!` makes the struct and the code that reads, writes and compares it.

use std::path::PathBuf;
use std::time::Duration;

use super::address::{Address, Addresses, ExternalUrl, Origins, RoutePrefix, TelemetryPath};
use super::read::Reader;
use super::setting::{Setting, words};
use crate::model::{GaugeRule, Ttl, UntypedRule};
use crate::units::ByteSize;

/// What `Config::visit` tells about each key.
pub(super) struct Seen {
    pub(super) key: &'static str,
    pub(super) placeholder: &'static str,
    pub(super) text: String,
    pub(super) yaml: String,
}

impl Seen {
    pub(super) fn new<T: Setting>(key: &'static str, value: &T) -> Seen {
        Seen { key, placeholder: T::PLACEHOLDER, text: value.text(), yaml: value.yaml() }
    }
}

macro_rules! section {
    ($(#[$meta:meta])* $name:ident in $section:literal {
        $($field:ident: $type:ty $(, $check:expr)?;)+
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $(pub $field: $type),+
        }

        impl $name {
            /// `None` if anything is wrong; the reader then knows what.
            pub(super) fn read(from: &mut Reader<'_>) -> Option<$name> {
                // Read everything before giving up, so that all errors are found.
                $(
                    let $field = from.get::<$type>(concat!($section, ".", stringify!($field)));
                    $(let $field = from.check(concat!($section, ".", stringify!($field)), $field, $check);)?
                )+
                Some($name { $($field: $field?),+ })
            }

            pub(super) fn visit(&self, visitor: &mut dyn FnMut(Seen)) {
                $(visitor(Seen::new(concat!($section, ".", stringify!($field)), &self.$field));)+
            }

            pub(super) fn changes(&self, new: &$name, changed: &mut dyn FnMut(&'static str)) {
                $(if self.$field != new.$field {
                    changed(concat!($section, ".", stringify!($field)));
                })+
            }
        }
    };
}

section! {
    /// Listening, connections, starting and stopping.
    Web in "web" {
        listen_address: Addresses;
        management_address: Option<Address>;
        route_prefix: RoutePrefix;
        external_url: Option<ExternalUrl>;
        telemetry_path: TelemetryPath;
        systemd_socket: bool, no_systemd;
        enable_lifecycle: bool;
        enable_admin_api: bool;
        config_file: Option<PathBuf>;
        cors_allowed_origins: Origins;
        drain_delay: Duration, at_most(HOUR);
        shutdown_timeout: Duration, within(SECOND, HOUR);
        keep_alive: Duration, at_most(DAY);
        workers: usize, at_most(1024);
        read_header_timeout: Duration, within(TENTH, HOUR);
        read_body_timeout: Duration, within(TENTH, HOUR);
        write_stall_timeout: Duration, within(TENTH, HOUR);
    }
}

section! {
    /// Who may push, scrape and administer.
    Auth in "auth" {
        file: Option<PathBuf>;
    }
}

section! {
    /// What pushes may say, and how they are answered.
    Push in "push" {
        success_code: SuccessCode;
        timestamps: Timestamps;
        delete: Delete;
        gauge: GaugeRule;
        untyped: UntypedRule;
        merge_hint: bool;
        disable_consistency_check: bool;
        enable_utf8_names: bool;
        allow_mode: bool;
        require_key: bool;
        key_window: Duration, within(SECOND, WEEK);
    }
}

section! {
    /// How scrapes are answered.
    Scrape in "scrape" {
        gzip_level: usize, within(1, 9);
        cache_bytes: ByteSize;
        created_samples: bool;
        zero_first: bool;
        native_buckets: usize, within(1, 100_000);
        max_in_flight: usize, within(1, 1000);
    }
}

section! {
    /// How long series are kept.
    Expiry in "ttl" {
        default: Ttl;
        client_max: Ttl;
        sweep_interval: Duration, within(TENTH, HOUR);
    }
}

section! {
    /// Bounds on everything that clients can make grow. 0 is no limit for `bucket_bounds`, `series`,
    /// `series_per_job` and `families`; the others are never 0.
    Limits in "limits" {
        body_bytes: ByteSize, within(ByteSize::KIB, BODY_MAX);
        decoded_body_bytes: ByteSize, within(ByteSize::KIB, BODY_MAX);
        inflight_push_bytes: ByteSize, at_least(ByteSize::KIB);
        samples_per_push: usize, at_least(1);
        labels_per_series: usize, at_least(1);
        label_name_bytes: ByteSize, at_least(ByteSize(1));
        label_value_bytes: ByteSize, at_least(ByteSize(1));
        metric_name_bytes: ByteSize, at_least(ByteSize(1));
        help_bytes: ByteSize, at_least(ByteSize(1));
        bucket_bounds: usize;
        series: usize;
        series_per_job: usize;
        families: usize;
        connections: usize, within(1, 1_000_000);
        header_bytes: ByteSize, within(ByteSize(4 << 10), ByteSize(128 << 10));
        remembered_keys_bytes: ByteSize, at_least(ByteSize(64 << 10));
        remembered_sources: usize, at_least(64);
    }
}

section! {
    /// Where state survives restarts.
    Store in "store" {
        path: Option<PathBuf>;
        ack: StoreAck;
        commit_interval: Duration, within(HUNDREDTH, HOUR);
    }
}

section! {
    /// Where the Pushgateway would keep its groups.
    Persistence in "persistence" {
        file: Option<PathBuf>;
        interval: Duration;
    }
}

section! {
    /// What is written to standard error.
    Log in "log" {
        level: LogLevel;
        format: LogFormat;
    }
}

const SECOND: Duration = Duration::from_secs(1);
const HUNDREDTH: Duration = Duration::from_millis(10);
const TENTH: Duration = Duration::from_millis(100);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const WEEK: Duration = Duration::from_secs(7 * 86_400);
/// Offsets into a push have 32 bits.
const BODY_MAX: ByteSize = ByteSize(2 << 30);

words! {
    /// What a push means.
    Mode, "aggregate|pushgateway" {
        /// Pushed counts add up.
        Aggregate = "aggregate",
        /// Pushes replace what their group has, as in the Pushgateway.
        Pushgateway = "pushgateway",
    }
}

words! {
    /// Status of a push that was applied.
    SuccessCode, "200|202" {
        Ok = "200",
        Accepted = "202",
    }
}

impl SuccessCode {
    pub fn code(self) -> u16 {
        match self {
            SuccessCode::Ok => 200,
            SuccessCode::Accepted => 202,
        }
    }
}

words! {
    /// What to do with timestamps on pushed samples.
    Timestamps, "reject|ignore" {
        Reject = "reject",
        Ignore = "ignore",
    }
}

words! {
    /// What DELETE on a push path does.
    Delete, "exact|ignore" {
        /// It removes what was pushed under exactly that path.
        Exact = "exact",
        /// It removes nothing, but succeeds.
        Ignore = "ignore",
    }
}

words! {
    /// When a push is answered.
    StoreAck, "synced|written|memory" {
        /// When it is safe from a power failure.
        Synced = "synced",
        /// When it is safe from the end of the process.
        Written = "written",
        /// At once.
        Memory = "memory",
    }
}

words! {
    /// Least serious level that is written.
    LogLevel, "error|warn|info|debug|trace" {
        Error = "error",
        Warn = "warn",
        Info = "info",
        Debug = "debug",
        Trace = "trace",
    }
}

words! {
    LogFormat, "logfmt|json" {
        Logfmt = "logfmt",
        Json = "json",
    }
}

// === checks: `None` if the value is fine, otherwise what is accepted ===

fn within<T: Setting + PartialOrd>(low: T, high: T) -> impl Fn(&T) -> Option<String> {
    move |value| {
        let outside = *value < low || *value > high;
        outside.then(|| format!("accepted are values from {} to {}", low.text(), high.text()))
    }
}

fn at_most<T: Setting + PartialOrd>(high: T) -> impl Fn(&T) -> Option<String> {
    move |value| (*value > high).then(|| format!("accepted are values up to {}", high.text()))
}

fn no_systemd(wanted: &bool) -> Option<String> {
    wanted.then(|| {
        "listeners are not taken from systemd; leave it off, and let the unit start the gateway with \
         web.listen_address instead of a socket"
            .to_owned()
    })
}

fn at_least<T: Setting + PartialOrd>(low: T) -> impl Fn(&T) -> Option<String> {
    move |value| (*value < low).then(|| format!("accepted are values from {}", low.text()))
}
