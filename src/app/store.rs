//! `tallygate store …`: looking at a store, taking its content out and bringing content in, while
//! no gateway runs on it.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{RunError, settings};
use crate::cli::{ExportFormat, StoreAction};
use crate::config::{Config, Mode};
use crate::format::compress::Compression;
use crate::format::escaping::Escaping;
use crate::format::negotiate::{Format, PushFormat};
use crate::format::openmetrics;
use crate::gateway::{Content, Gateway, Limits, Loaded, PushRequest, ScrapeRequest};
use crate::model::Grouping;
use crate::persistence::disk::Disk;
use crate::persistence::{Ack, Commits, Committer, CommitterOptions, Engine};
use crate::telemetry::Telemetry;

/// Does what was asked for. What there is to tell goes to `out`.
///
/// # Errors
/// If the store, or what is to be brought in, is not whole.
pub fn run(config: &Config, action: &StoreAction, out: &mut impl Write) -> Result<(), RunError> {
    match action {
        StoreAction::Check(path) => check(config, path.as_deref(), out),
        StoreAction::Export(format) => export(config, *format, out),
        StoreAction::Import(file) => import(config, file, out),
    }
}

/// Reads everything, changes nothing, and says what is there.
fn check(config: &Config, path: Option<&Path>, out: &mut impl Write) -> Result<(), RunError> {
    let path = match path {
        Some(path) => path.to_owned(),
        None => path_of(config)?,
    };
    let mut engine = Disk::open_to_read(&path)?;
    // Whatever mode it is of.
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
    let body =
        fs::read(file).map_err(|error| RunError::Import(format!("{}: {error}", file.display())))?;
    let mut engine = Disk::open(&path_of(config)?)?;
    let commits = Commits::new(Ack::Synced);
    let gateway = Arc::new(gateway(config, commits));
    let loaded = gateway.load(&mut engine, &mut |_| {})?;
    let collected = gateway.clone();
    let committer = Committer::start(
        Box::new(engine),
        loaded.commit,
        gateway.commits().clone(),
        Box::new(move |batch| collected.collect(batch)),
        CommitterOptions {
            interval: Duration::from_secs(1),
            patience: Duration::MAX,
            telemetry: gateway.shared_telemetry(),
        },
    )?;
    let pushed = gateway.push(&PushRequest::new(&Grouping::default(), format_of(&body), &body));
    let pushed = pushed.map_err(|error| RunError::Import(format!("{}: {error}", file.display())));
    committer.stop()?;
    let pushed = pushed?;
    writeln!(out, "ok: {} series, {} of them new", pushed.series, pushed.series_born)?;
    Ok(())
}

/// What [`export`] or a scrape has written. Only protobuf has such bytes: it begins its fields with
/// them.
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
    let mut settings = settings(config);
    // What was accepted once goes through as a whole, however much it is.
    settings.limits = Limits::default();
    settings.require_key = false;
    settings.rules = crate::rules::Rules::default();
    let gateway = Gateway::with_commits(settings, Arc::new(Telemetry::new(0)), Arc::new(commits));
    match config.mode {
        Mode::Aggregate => gateway,
        Mode::Pushgateway => gateway.with_groups(),
    }
}

impl From<io::Error> for RunError {
    fn from(error: io::Error) -> RunError {
        RunError::Output(error)
    }
}
