//! `tallygate import`: takes the persistence file of an old Pushgateway over into the store.

use std::path::Path;
use std::sync::Arc;

use super::settings;
use crate::config::{Config, Mode};
use crate::gateway::Gateway;
use crate::import::{self, ImportError};
use crate::persistence::disk::Disk;
use crate::persistence::{Ack, Batch, Commits, Engine, EngineError};
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
    File(String, ImportError),
    #[error("the store at {path} has {groups} groups already; import into one that has none")]
    NotEmpty { path: String, groups: usize },
    #[error(transparent)]
    Store(#[from] EngineError),
}

/// Reads the file into the store that the configuration names, all of it or nothing. What happened,
/// for people.
///
/// # Errors
/// If the file or the store cannot be used; the store is as before then.
pub fn import_file(config: &Config, file: &Path) -> Result<String, ImportFailed> {
    if config.mode != Mode::Pushgateway {
        return Err(ImportFailed::Mode);
    }
    let path = config.store_path().ok_or(ImportFailed::NoStore)?;
    let name = file.display().to_string();
    let content = std::fs::read(file).map_err(|error| ImportFailed::Read(name.clone(), error))?;

    let commits = Arc::new(Commits::new(Ack::Memory));
    let telemetry = Arc::new(Telemetry::new(0));
    let gateway = Gateway::with_commits(settings(config), telemetry, commits).with_groups();
    let groups = gateway.groups().ok_or(ImportFailed::Mode)?;
    let mut engine = Disk::open(&path)?;
    let loaded = gateway.load(&mut engine, &mut |_| {})?;
    let there = groups.size().groups;
    if there > 0 {
        return Err(ImportFailed::NotEmpty { path: path.display().to_string(), groups: there });
    }
    let imported =
        import::import(&content, groups).map_err(|error| ImportFailed::File(name, error))?;
    let mut batch = Batch::default();
    gateway.collect(&mut batch);
    engine.write(loaded.commit + 1, &batch)?;
    engine.sync()?;

    let mut report = format!(
        "imported {} groups with {} families into {}\n",
        imported.groups,
        imported.families,
        path.display()
    );
    for reason in &imported.left_out {
        report += &format!("left out: {reason}\n");
    }
    Ok(report)
}
