//! What of a new configuration can take effect while the program runs.

use super::{Config, Limits, Log};

/// A configuration read again, beside the one in use.
#[derive(Clone, Debug, PartialEq)]
pub struct Reload {
    /// To go on with: new where that is possible, otherwise as before.
    pub config: Config,
    /// Keys that changed and take effect now.
    pub applied: Vec<&'static str>,
    /// Keys that changed but take effect with the next start.
    pub needs_restart: Vec<&'static str>,
}

impl Config {
    /// Takes over from `new` what can change at run time: `push`, `scrape`, `ttl`, `rules`,
    /// `log.level` and all `limits` but those that were built into the listeners.
    pub fn reload(&self, new: &Config) -> Reload {
        let (applied, needs_restart) = self.reload_diff(new);
        let config = Config {
            mode: self.mode,
            web: self.web.clone(),
            push: new.push.clone(),
            scrape: new.scrape.clone(),
            ttl: new.ttl.clone(),
            limits: Limits {
                connections: self.limits.connections,
                header_bytes: self.limits.header_bytes,
                ..new.limits.clone()
            },
            log: Log { level: new.log.level, format: self.log.format },
            rules: new.rules.clone(),
            origins: new.origins.clone(),
            warnings: new.warnings.clone(),
        };
        Reload { config, applied, needs_restart }
    }

    /// The keys in which `new` differs: those that can change at run time, and the others.
    pub fn reload_diff(&self, new: &Config) -> (Vec<&'static str>, Vec<&'static str>) {
        let mut changed = Vec::new();
        let mut note = |key| changed.push(key);
        if self.mode != new.mode {
            note("mode");
        }
        self.web.changes(&new.web, &mut note);
        self.push.changes(&new.push, &mut note);
        self.scrape.changes(&new.scrape, &mut note);
        self.ttl.changes(&new.ttl, &mut note);
        self.limits.changes(&new.limits, &mut note);
        self.log.changes(&new.log, &mut note);
        if self.rules != new.rules {
            note("rules");
        }
        changed.into_iter().partition(|key| is_reloadable(key))
    }
}

/// Whether a key can change while the program runs.
pub(super) fn is_reloadable(key: &str) -> bool {
    match key {
        "limits.connections" | "limits.header_bytes" | "log.format" => false,
        _ => !matches!(key.split('.').next(), Some("mode" | "web")),
    }
}
