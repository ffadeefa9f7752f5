//! Which parts of a new configuration can take effect while the program runs.

use super::{Config, Log, Push, Scrape};

/// A configuration read again, beside the one in use.
#[derive(Clone, Debug, PartialEq)]
pub struct Reload {
    /// The configuration from now on: new where possible, otherwise as before.
    pub config: Config,
    /// Keys that changed and take effect now.
    pub applied: Vec<&'static str>,
    /// Keys that changed but take effect with the next start.
    pub needs_restart: Vec<&'static str>,
}

impl Config {
    /// Takes from `new` what can change at run time: `ttl`, `limits`, `rules`, `log.level`, and everything in
    /// `push` and `scrape` that the server has not been built with.
    pub fn reload(&self, new: &Config) -> Reload {
        let (applied, needs_restart) = self.reload_diff(new);
        let config = Config {
            mode: self.mode,
            web: self.web.clone(),
            auth: self.auth.clone(),
            push: Push {
                success_code: self.push.success_code,
                disable_consistency_check: self.push.disable_consistency_check,
                allow_mode: self.push.allow_mode,
                ..new.push.clone()
            },
            scrape: Scrape { max_in_flight: self.scrape.max_in_flight, ..new.scrape.clone() },
            ttl: new.ttl.clone(),
            limits: new.limits.clone(),
            store: self.store.clone(),
            persistence: self.persistence.clone(),
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
        self.auth.changes(&new.auth, &mut note);
        self.push.changes(&new.push, &mut note);
        self.scrape.changes(&new.scrape, &mut note);
        self.ttl.changes(&new.ttl, &mut note);
        self.limits.changes(&new.limits, &mut note);
        self.store.changes(&new.store, &mut note);
        self.persistence.changes(&new.persistence, &mut note);
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
        "push.success_code" | "push.disable_consistency_check" | "push.allow_mode" => false,
        "scrape.max_in_flight" | "log.format" => false,
        _ => !matches!(
            key.split('.').next(),
            Some("mode" | "web" | "auth" | "store" | "persistence")
        ),
    }
}
