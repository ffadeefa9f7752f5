//! `tallygate import`: takes the groups of an old Pushgateway over into the store.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use super::store::write_changes;
use super::{RunError, options};
use crate::cli::{AskError, Origin, Running};
use crate::config::{Config, Mode};
use crate::groups::Groups;
use crate::import::{self, ImportError, Imported, Listing};
use crate::persistence::disk::Disk;
use crate::persistence::{Ack, Commits, EngineError};
use crate::telemetry::Telemetry;

/// Why nothing was taken over.
#[derive(Debug, thiserror::Error)]
pub enum ImportFailed {
    #[error("groups are kept in mode pushgateway only: add --mode=pushgateway")]
    Mode,
    #[error("there is no store to import into: give --persistence.file or --store.path")]
    NoStore,
    #[error("{0}: {1}")]
    Read(String, std::io::Error),
    #[error("{0}: {1}")]
    Content(String, ImportError),
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error(
        "somebody pushed to {0} each of the {TRIES} times that it was asked; try again, or stop it \
         and import its persistence file"
    )]
    Busy(String),
    #[error("the store at {path} has {groups} groups already; import into one that has none")]
    NotEmpty { path: String, groups: usize },
    #[error(transparent)]
    Store(#[from] EngineError),
}

/// How often to ask a Pushgateway to which somebody keeps pushing.
const TRIES: usize = 10;

/// Reads all groups into the store that the configuration names, or none, and reports to `out`.
///
/// # Errors
/// If they or the store cannot be used; the store is as before then.
pub fn import_groups(
    config: &Config,
    origin: &Origin,
    out: &mut impl Write,
) -> Result<(), RunError> {
    let (imported, path) = take_over(config, origin)?;
    let Imported { groups, families, left_out } = imported;
    writeln!(out, "imported {groups} groups with {families} families into {}", path.display())?;
    left_out.iter().try_for_each(|reason| writeln!(out, "left out: {reason}"))?;
    Ok(())
}

/// What was imported, and where to.
fn take_over(config: &Config, origin: &Origin) -> Result<(Imported, PathBuf), ImportFailed> {
    if config.mode != Mode::Pushgateway {
        return Err(ImportFailed::Mode);
    }
    let path = config.store_path().ok_or(ImportFailed::NoStore)?;
    let (settings, telemetry) = (options::settings(config), Arc::new(Telemetry::new(0)));
    let gateway = options::gateway(config.mode, settings, telemetry, Commits::new(Ack::Memory));
    let groups = gateway.groups().ok_or(ImportFailed::Mode)?;
    let mut engine = Disk::open(&path)?;
    let loaded = gateway.load(&mut engine, &mut |_| {})?;
    let there = groups.size().groups;
    if there > 0 {
        return Err(ImportFailed::NotEmpty { path: path.display().to_string(), groups: there });
    }
    let imported = match origin {
        Origin::File(file) => {
            let name = || file.display().to_string();
            let content = std::fs::read(file).map_err(|error| ImportFailed::Read(name(), error))?;
            import::import(&content, groups)
                .map_err(|error| ImportFailed::Content(name(), error))?
        }
        Origin::Running(running) => ask(running, config.web.telemetry_path.as_str(), groups)?,
    };
    write_changes(&gateway, &mut engine, loaded)?;
    Ok((imported, path))
}

/// The listing and the values come in separate answers. Asks until nobody has pushed in between.
fn ask(running: &Running, telemetry_path: &str, groups: &Groups) -> Result<Imported, ImportFailed> {
    let wrong = |error| ImportFailed::Content(running.to_string(), error);
    let listing = || Listing::read(&running.listing()?).map_err(wrong);
    let mut before = listing()?;
    for _ in 0..TRIES {
        let exposition = running.exposition(telemetry_path)?;
        let after = listing()?;
        if after == before {
            return import::import_running(&after, &exposition, groups).map_err(wrong);
        }
        before = after;
    }
    Err(ImportFailed::Busy(running.to_string()))
}

/// A warning for the start, if there is a persistence file that may not have been imported: the
/// gateway starts empty, and an import is possible only before the first push.
pub(super) fn unused_file(config: &Config) -> Option<String> {
    let file = config.persistence.file.as_deref().filter(|_| config.mode == Mode::Pushgateway)?;
    let found = std::fs::metadata(file).ok()?;
    (found.is_file() && found.len() > 0).then(|| {
        format!(
            "{file} is a file already, perhaps of an old Pushgateway, and its groups are not here; \
             to have them, stop this gateway before anything is pushed, and run tallygate import \
             {file} with the flags of this gateway",
            file = file.display()
        )
    })
}
