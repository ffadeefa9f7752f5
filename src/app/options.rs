//! The configuration as each part wants it: no part knows the module `config`.

use std::sync::Arc;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use crate::config::{self, Config};
use crate::format::Timestamps;
use crate::gateway::{Gateway, Limits, Settings};
use crate::http::{HttpOptions, PushgatewayOptions, ServerOptions, StatusCode};
use crate::model::exposition::Names;
use crate::persistence::{Ack, Commits};
use crate::store::StoreLimits;
use crate::telemetry::Telemetry;
use crate::telemetry::log::LogFormat;

/// An empty gateway of the configured mode.
pub(super) fn gateway(
    mode: config::Mode,
    settings: Settings,
    telemetry: Arc<Telemetry>,
    commits: Commits,
) -> Gateway {
    let gateway = Gateway::with_commits(settings, telemetry, Arc::new(commits));
    match mode {
        config::Mode::Aggregate => gateway,
        config::Mode::Pushgateway => gateway.with_groups(),
    }
}

pub(super) fn settings(config: &Config) -> Settings {
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
            help_bytes: limits.help_bytes.bytes(),
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

pub(super) fn commits(config: &Config) -> Commits {
    if config.store_path().is_none() {
        return Commits::default();
    }
    Commits::new(match config.store.ack {
        config::StoreAck::Synced => Ack::Synced,
        config::StoreAck::Written => Ack::Written,
        config::StoreAck::Memory => Ack::Memory,
    })
}

pub(super) fn http(config: &Config) -> HttpOptions {
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

pub(super) fn server(config: &Config) -> ServerOptions {
    ServerOptions {
        workers: config.web.workers,
        keep_alive: config.web.keep_alive,
        read_header_timeout: config.web.read_header_timeout,
        write_stall_timeout: config.web.write_stall_timeout,
        shutdown_timeout: config.web.shutdown_timeout.max(Duration::from_secs(1)),
    }
}

pub(super) fn level(config: &Config) -> LevelFilter {
    match config.log.level {
        config::LogLevel::Error => LevelFilter::ERROR,
        config::LogLevel::Warn => LevelFilter::WARN,
        config::LogLevel::Info => LevelFilter::INFO,
        config::LogLevel::Debug => LevelFilter::DEBUG,
        config::LogLevel::Trace => LevelFilter::TRACE,
    }
}

pub(super) fn log_format(config: &Config) -> LogFormat {
    match config.log.format {
        config::LogFormat::Logfmt => LogFormat::Logfmt,
        config::LogFormat::Json => LogFormat::Json,
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
