//! `tallygate store …`: checks, exports and imports, while no gateway runs on the store.

use std::fmt::Display;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{RunError, options};
use crate::cli::{ExportFormat, StoreAction};
use crate::config::{Config, Mode};
use crate::format::compress::Compression;
use crate::format::escaping::Escaping;
use crate::format::negotiate::{Format, PushFormat};
use crate::format::openmetrics;
use crate::gateway::{Content, Gateway, Limits, Loaded, PushRequest, ScrapeRequest, Settings};
use crate::model::Grouping;
use crate::persistence::disk::Disk;
use crate::persistence::{Ack, Batch, Commits, Engine, EngineError};
use crate::rules::Rules;
use crate::telemetry::Telemetry;

/// Runs one of the commands, and reports to `out`.
///
/// # Errors
/// If the store cannot be used, or the import is refused.
pub fn run(config: &Config, action: &StoreAction, out: &mut impl Write) -> Result<(), RunError> {
    match action {
        StoreAction::Check(path) => check(config, path.as_deref(), out),
        StoreAction::Export(format) => export(config, *format, out),
        StoreAction::Import(file) => import(config, file, out),
    }
}

/// Reads everything, and changes nothing.
fn check(config: &Config, path: Option<&Path>, out: &mut impl Write) -> Result<(), RunError> {
    let path = match path {
        Some(path) => path.to_owned(),
        None => path_of(config)?,
    };
    let mut engine = Disk::open_to_read(&path)?;
    // A store of either mode.
    let gateway = gateway(config, Commits::default()).with_groups();
    let Loaded { commit, series } = gateway.read(&mut engine, &mut |_| {})?;
    let (families, bytes) = (gateway.store().family_count(), engine.usage().disk_bytes);
    let groups = gateway.groups().map_or(0, |groups| groups.size().groups);
    writeln!(
        out,
        "ok: {series} series in {families} families, {groups} groups, {commit} commits, \
         {bytes} bytes in {}",
        path.display()
    )?;
    Ok(())
}

/// Writes an exposition of everything.
fn export(config: &Config, format: ExportFormat, out: &mut impl Write) -> Result<(), RunError> {
    let gateway = gateway(config, Commits::default());
    gateway.read(&mut Disk::open_to_read(&path_of(config)?)?, &mut |_| {})?;
    let format = match format {
        ExportFormat::Text => Format::Text100,
        ExportFormat::Protobuf => Format::ProtobufDelimited,
    };
    let mut scrape = gateway.scrape(ScrapeRequest {
        format,
        escaping: Escaping::AllowUtf8,
        compression: Compression::Identity,
        selectors: Vec::new(),
        content: Content::Pushed,
    })?;
    while let Some(piece) = scrape.next_piece()? {
        out.write_all(&piece)?;
    }
    out.flush()?;
    Ok(())
}

/// Adds an exposition to what is there, as one push.
fn import(config: &Config, file: &Path, out: &mut impl Write) -> Result<(), RunError> {
    if config.mode == Mode::Pushgateway {
        return Err(RunError::Import("only in mode aggregate; groups are pushed".to_owned()));
    }
    let failed = |error: &dyn Display| RunError::Import(format!("{}: {error}", file.display()));
    let body = fs::read(file).map_err(|error| failed(&error))?;
    let mut engine = Disk::open(&path_of(config)?)?;
    let gateway = gateway(config, Commits::new(Ack::Memory));
    let loaded = gateway.load(&mut engine, &mut |_| {})?;
    let grouping = Grouping::default();
    let push = PushRequest::new(&grouping, format_of(&body), &body);
    let pushed = gateway.push(&push).map_err(|error| failed(&error))?;
    write_changes(&gateway, &mut engine, loaded)?;
    writeln!(out, "ok: {} series, {} of them new", pushed.series, pushed.series_born)?;
    Ok(())
}

/// Writes what has changed since the store was loaded as one commit, and closes the store.
pub(super) fn write_changes(
    gateway: &Gateway,
    engine: &mut Disk,
    loaded: Loaded,
) -> Result<(), EngineError> {
    let mut batch = Batch::default();
    gateway.collect(&mut batch);
    engine.write(loaded.commit + 1, &batch)?;
    engine.sync()?;
    engine.close()
}

/// The format of a file that [`export`] or a scrape has written. Only protobuf contains these bytes:
/// its fields begin with them.
fn format_of(body: &[u8]) -> PushFormat {
    if body.iter().any(|byte| matches!(byte, 0..=8 | 0x0b | 0x0c | 0x0e..=0x1f)) {
        PushFormat::Protobuf
    } else if openmetrics::has_eof(body) {
        PushFormat::OpenMetrics
    } else {
        PushFormat::Text
    }
}

fn path_of(config: &Config) -> Result<PathBuf, RunError> {
    config.store_path().ok_or(RunError::NoStore)
}

fn gateway(config: &Config, commits: Commits) -> Gateway {
    let settings = Settings {
        // What a gateway accepted over time comes back in one piece here, however large.
        limits: Limits::default(),
        require_key: false,
        rules: Rules::default(),
        ..options::settings(config)
    };
    options::gateway(config.mode, settings, Arc::new(Telemetry::new(0)), commits)
}

impl From<io::Error> for RunError {
    fn from(error: io::Error) -> RunError {
        RunError::Output(error)
    }
}
