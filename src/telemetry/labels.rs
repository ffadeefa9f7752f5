//! The label values of our own metrics. None of them comes from a client.

macro_rules! label_values {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($variant),+
        }

        impl $name {
            pub const ALL: &[$name] = &[$($name::$variant),+];

            pub fn word(self) -> &'static str {
                match self {
                    $($name::$variant => $word),+
                }
            }
        }
    };
}

pub(super) use label_values;

label_values!(
    /// What became of a push.
    Outcome {
        Accepted = "accepted",
        Malformed = "malformed",
        Unacceptable = "unacceptable",
        TooLarge = "too_large",
        UnsupportedType = "unsupported_type",
        Forbidden = "forbidden",
        OverLimit = "over_limit",
        InFlight = "in_flight",
        TimedOut = "timed_out",
        Unavailable = "unavailable",
    }
);

label_values!(
    /// Why a request was refused for who sent it.
    AuthRefusal {
        Missing = "missing",
        Malformed = "malformed",
        Wrong = "wrong",
        Busy = "busy",
        Right = "right",
        Labels = "labels",
    }
);

label_values!(
    /// Why series were removed.
    Cause {
        Expired = "expired",
        Deleted = "deleted",
        Wiped = "wiped",
    }
);

label_values!(
    /// What became of a commit.
    CommitOutcome { Done = "done", Failed = "failed" }
);

label_values!(
    /// Everything that has a limit (DESIGN 7), named like its configuration key.
    Limit {
        BodyBytes = "body_bytes",
        DecodedBodyBytes = "decoded_body_bytes",
        SamplesPerPush = "samples_per_push",
        LabelsPerSeries = "labels_per_series",
        LabelNameBytes = "label_name_bytes",
        LabelValueBytes = "label_value_bytes",
        MetricNameBytes = "metric_name_bytes",
        HelpBytes = "help_bytes",
        BucketBounds = "bucket_bounds",
        Series = "series",
        SeriesPerJob = "series_per_job",
        Families = "families",
        InflightPushBytes = "inflight_push_bytes",
        Connections = "connections",
        HeaderBytes = "header_bytes",
        RememberedKeysBytes = "remembered_keys_bytes",
        RememberedSources = "remembered_sources",
    }
);

label_values!(
    /// The format of a pushed body.
    BodyFormat { Text = "text", OpenMetrics = "openmetrics", Protobuf = "protobuf" }
);

label_values!(
    /// The content encoding of a pushed body.
    BodyEncoding { Identity = "identity", Gzip = "gzip", Snappy = "snappy", Zstd = "zstd", Deflate = "deflate" }
);

label_values!(
    /// Which part of the HTTP surface answered.
    Handler {
        Push = "push",
        Delete = "delete",
        Scrape = "scrape",
        Status = "api_status",
        Metrics = "api_metrics",
        Series = "api_series",
        DeleteSeries = "api_delete_series",
        Wipe = "api_wipe",
        Healthy = "healthy",
        Ready = "ready",
        Quit = "quit",
        Reload = "reload",
        Page = "page",
        Other = "other",
    }
);
