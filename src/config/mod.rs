//! Configuration: `config/default.yaml` < file < environment < flags (DESIGN 8).
//!
//! The default file is embedded. It *is* the defaults, and the [`schema()`] of keys, flags and help is read
//! from it. Each layer is checked for unknown keys, the layers are merged, and every key becomes a typed
//! value of a section. Nothing stops at the first error: three mistakes in a file are reported as three.
//!
//! Only [`Sources::load`], [`WebFile::load`] and [`UsersFile::load`] read files. Only `cli` and `app` use
//! this module; components have options of their own.

mod address;
mod layers;
mod print;
mod problem;
mod read;
mod reference;
mod reload;
mod rules;
mod schema;
mod sections;
mod setting;
mod table;
mod users_file;
mod web_file;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use crate::units::{
    ByteSize, DurationError, Secret, SizeError, format_duration, parse_duration,
};
pub use address::{Address, Addresses, ExternalUrl, Origins, RoutePrefix, TelemetryPath};
use layers::Layer;
pub(crate) use layers::is_like_ours;
pub use layers::{FILE_VARIABLE, Sources};
pub use problem::{ConfigErrors, Origin, Problem, RuleFault};
use read::Reader;
pub use reference::{DescribedKey, DescribedSection, describe, markdown_reference};
pub use reload::Reload;
pub use schema::{
    DEFAULT_YAML, Doc, ENVIRONMENT_PREFIX, Key, KeyKind, Schema, Section, flag_name, nearest,
    schema,
};
use sections::Seen;
pub use sections::{
    Auth, Delete, Expiry, Limits, Log, LogFormat, LogLevel, Mode, Persistence, Push, Scrape, Store,
    StoreAck, SuccessCode, Timestamps, Web,
};

pub use users_file::UsersFile;
pub use web_file::{ClientAuth, FileErrors, Pem, RateLimit, TlsServer, TlsVersion, WebFile};

use crate::rules::Rules;

/// A valid configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub mode: Mode,
    pub web: Web,
    pub auth: Auth,
    pub push: Push,
    pub scrape: Scrape,
    pub ttl: Expiry,
    pub limits: Limits,
    pub store: Store,
    pub persistence: Persistence,
    pub log: Log,
    pub rules: Rules,
    /// Where each key comes from.
    origins: BTreeMap<&'static str, Origin>,
    warnings: Vec<String>,
}

impl Sources {
    /// Reads the file and puts the layers together.
    ///
    /// # Errors
    /// With everything that is wrong.
    pub fn load(&self) -> Result<Config, ConfigErrors> {
        let mut problems = Vec::new();
        let file = self.file.as_deref().map(|path| Layer::file(path, &mut problems));
        let environment = Layer::environment(&self.environment, &mut problems);
        let flags = Layer::flags(&self.flags);
        let layers = file.into_iter().chain([environment, flags]);
        let mut config = Config::from_layers(layers, problems)?;
        let idle = config.idle_keys().into_iter();
        config.warnings.extend(idle.map(|key| format!("{key} means nothing in mode aggregate")));
        let misnamed = layers::misnamed_variables(&self.environment);
        config.warnings.extend(misnamed.into_iter().map(|(name, right)| {
            format!("environment variable {name} is not used; did you mean {right}?")
        }));
        Ok(config)
    }
}

impl Config {
    /// The defaults, with the changes in a YAML text.
    ///
    /// # Errors
    /// With everything that is wrong.
    pub fn from_yaml(text: &str) -> Result<Config, ConfigErrors> {
        let mut problems = Vec::new();
        let layer = Layer::yaml(text, Origin::File("the text".into()), &mut problems);
        Config::from_layers([layer], problems)
    }

    fn from_layers(
        layers: impl IntoIterator<Item = Layer>,
        mut problems: Vec<Problem>,
    ) -> Result<Config, ConfigErrors> {
        let mut all = vec![Layer::defaults(&mut problems)];
        all.extend(layers);
        let config = match Reader::new(all, &mut problems) {
            Ok(reader) => Config::read(reader),
            Err(error) => {
                problems.push(Problem::Conflict(error.to_string()));
                None
            }
        };
        match config {
            Some(mut config) => {
                config.check(&mut problems);
                if let Some(url) = &config.web.external_url {
                    config.web.route_prefix.resolve(url);
                }
                if problems.is_empty() { Ok(config) } else { Err(ConfigErrors(problems)) }
            }
            None => Err(ConfigErrors(problems)),
        }
    }

    fn read(mut from: Reader<'_>) -> Option<Config> {
        // Read everything before giving up, so that all errors are found.
        let mode = from.get::<Mode>("mode");
        let web = Web::read(&mut from);
        let auth = Auth::read(&mut from);
        let push = Push::read(&mut from);
        let scrape = Scrape::read(&mut from);
        let ttl = Expiry::read(&mut from);
        let limits = Limits::read(&mut from);
        let store = Store::read(&mut from);
        let persistence = Persistence::read(&mut from);
        let log = Log::read(&mut from);
        let rules = from.rules();
        Some(Config {
            mode: mode?,
            web: web?,
            auth: auth?,
            push: push?,
            scrape: scrape?,
            ttl: ttl?,
            limits: limits?,
            store: store?,
            persistence: persistence?,
            log: log?,
            rules: rules?,
            origins: from.into_origins(),
            warnings: Vec::new(),
        })
    }

    /// Checks that concern several keys.
    fn check(&self, problems: &mut Vec<Problem>) {
        if let Some(management) = &self.web.management_address
            && let Some(taken) = self.web.listen_address.iter().find(|a| a.collides(management))
        {
            problems.push(Problem::Conflict(format!(
                "web.management_address {} and web.listen_address {} overlap; give the first one \
                 a port of its own, such as :9092",
                management.as_str(),
                taken.as_str(),
            )));
        }
        let Limits { body_bytes: sent, decoded_body_bytes: decoded, .. } = self.limits;
        if decoded < sent {
            problems.push(Problem::Conflict(format!(
                "limits.decoded_body_bytes ({decoded}) is below limits.body_bytes ({sent}), so \
                 that no push of that size could come in; raise the first or lower the second",
            )));
        }
    }

    /// Where the store is; `None` keeps state in memory only. In pushgateway mode that is the default, as
    /// people expect it from the Pushgateway, unless a persistence file is named.
    pub fn store_path(&self) -> Option<PathBuf> {
        let named = *self.origin("store.path") != Origin::Default;
        if self.mode == Mode::Aggregate || named {
            return self.store.path.clone();
        }
        let mut path = self.persistence.file.clone()?.into_os_string();
        path.push(".tallygate");
        Some(path.into())
    }

    /// Keys that are set but have no effect in this mode.
    fn idle_keys(&self) -> Vec<&'static str> {
        const PUSHGATEWAY: [&str; 6] = [
            "web.telemetry_path",
            "push.disable_consistency_check",
            "push.enable_utf8_names",
            "push.allow_mode",
            "persistence.file",
            "persistence.interval",
        ];
        if self.mode == Mode::Pushgateway {
            return Vec::new();
        }
        let defaults = Config::from_yaml("").map(|config| config.settings()).unwrap_or_default();
        let settings = self.settings().into_iter().zip(defaults);
        let changed = settings
            .filter(|((name, value), (_, default))| PUSHGATEWAY.contains(name) && value != default);
        changed.map(|((name, _), _)| name).collect()
    }

    /// Where the value of a key comes from.
    pub fn origin(&self, key: &str) -> &Origin {
        self.origins.get(key).unwrap_or(&Origin::Default)
    }

    /// The keys that are not left at their defaults, in the order of the default file.
    pub fn changed_keys(&self) -> impl Iterator<Item = (&'static str, &Origin)> {
        let origin = |key: &'static Key| (key.name, self.origin(key.name));
        schema().keys().map(origin).filter(|(_, origin)| **origin != Origin::Default)
    }

    /// What is odd, but not an error.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// All keys except the rules, with their values as a flag or variable would have them.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let mut settings = Vec::new();
        self.visit(&mut |seen| settings.push((seen.key, seen.text)));
        settings
    }

    fn visit(&self, visitor: &mut dyn FnMut(Seen)) {
        visitor(Seen::new("mode", &self.mode));
        self.web.visit(visitor);
        self.auth.visit(visitor);
        self.push.visit(visitor);
        self.scrape.visit(visitor);
        self.ttl.visit(visitor);
        self.limits.visit(visitor);
        self.store.visit(visitor);
        self.persistence.visit(visitor);
        self.log.visit(visitor);
    }
}

#[cfg(test)]
mod tests;
