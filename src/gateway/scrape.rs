//! One scrape: families in order, encoded and compressed piece by piece (DESIGN 5).
//!
//! The list of series is taken when the scrape begins; each value is read under its own short lock
//! when its turn comes, and encoded when no lock is held. Whoever asks for the pieces decides how
//! fast; a reader that stalls holds one piece and two lists of pointers, and nobody up.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::Guard;

use super::shown::{self, Shown};
use super::{Gateway, NativeLimit, Settings};
use crate::format::compress::{self, Compression, Levels};
use crate::format::encode;
use crate::format::encode::{Decision, Encoder, Options, Plan};
use crate::format::escaping::Escaping;
use crate::format::negotiate::Format;
use crate::groups::Groups;
use crate::model::{FamilyHead, Kind, ReadBuffer};
use crate::rules::Selector;
use crate::store::{Family, Metadata, SeriesRef};
use crate::telemetry::{OwnSnapshot, Telemetry, Use};

/// Plain bytes of one piece, about.
const PIECE_BYTES: usize = 256 << 10;

/// How a scrape is to be answered.
#[derive(Clone, Debug)]
pub struct ScrapeRequest {
    pub format: Format,
    pub escaping: Escaping,
    pub compression: Compression,
    /// Any of them; none means all.
    pub selectors: Vec<Selector>,
    pub content: Content,
}

/// Whose series a scrape shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    Pushed,
    PushedAndOwn,
    Own,
}

/// A scrape under way: ask for [`Scrape::next_piece`] until there is none.
#[derive(Debug)]
pub struct Scrape {
    telemetry: Arc<Telemetry>,
    sources: Vec<Source>,
    /// How to write each source; none if it is left out.
    decisions: Vec<Option<Decision>>,
    left_out: usize,
    selectors: Vec<Selector>,
    settings: Arc<Settings>,
    /// Both are taken when they have finished.
    encoder: Option<Encoder>,
    compressor: Option<compress::Encoder>,
    /// The source at hand, and its next series.
    at: usize,
    series: Arc<Vec<SeriesRef>>,
    at_series: usize,
    native_limit: NativeLimit,
    open: bool,
    series_left_out: usize,
    buffer: ReadBuffer,
    plain: Vec<u8>,
    sent: usize,
    took: Duration,
}

/// A family to show.
#[derive(Debug)]
enum Source {
    Stored {
        family: Arc<Family>,
        kind: Kind,
        metadata: Metadata,
    },
    Own(OwnSnapshot),
    /// Of groups that replace.
    Shown(Shown),
}

impl Source {
    fn family(&self) -> encode::Family<'_> {
        let regular = match self {
            Source::Stored { family, .. } => family.is_regular(),
            Source::Own(_) | Source::Shown(_) => true,
        };
        encode::Family { head: self.head(), regular }
    }

    fn head(&self) -> FamilyHead<'_> {
        match self {
            Source::Stored { family, kind, metadata } => FamilyHead {
                name: family.name(),
                kind: *kind,
                help: &metadata.help,
                unit: &metadata.unit,
            },
            Source::Own(own) => {
                FamilyHead { name: &own.name, kind: own.kind, help: &own.help, unit: "" }
            }
            Source::Shown(shown) => shown.head(),
        }
    }
}

impl Gateway {
    /// Begins a scrape of what is stored now.
    ///
    /// # Errors
    /// If the compressor cannot get its memory.
    pub fn scrape(&self, request: ScrapeRequest) -> io::Result<Scrape> {
        let settings = Guard::into_inner(self.settings());
        let mut sources = Vec::new();
        if request.content != Content::Own {
            let families = self.store.families();
            sources.extend(families.iter().map(|family| Source::Stored {
                family: family.clone(),
                kind: family.kind(),
                metadata: family.metadata(),
            }));
        }
        if let Some(groups) = &self.groups {
            let (pushed, own) = match request.content {
                Content::Pushed => (groups.snapshot(), Vec::new()),
                Content::Own => (Vec::new(), self.telemetry.pushgateway_snapshot(self.used())),
                Content::PushedAndOwn => {
                    (groups.snapshot(), self.telemetry.pushgateway_snapshot(self.used()))
                }
            };
            sources.extend(shown::shown(&pushed, own).into_iter().map(Source::Shown));
            // What is added up stands among the groups; names are never in both.
            sources.sort_by(|a, b| a.head().name.cmp(b.head().name));
        } else if request.content != Content::Pushed {
            sources.extend(self.telemetry.snapshot(self.used()).into_iter().map(Source::Own));
        }
        let options = Options {
            format: request.format,
            escaping: request.escaping,
            created_lines: settings.created_samples,
        };
        let plan = Plan::new(options, sources.iter().map(Source::family));
        let (decisions, left_out) = (plan.decisions(), plan.left_out().len());
        let levels = Levels { gzip: settings.gzip_level, ..Levels::default() };
        let compressor = compress::Encoder::new(request.compression, levels)?;
        Ok(Scrape {
            telemetry: self.telemetry.clone(),
            encoder: Some(Encoder::new(options)),
            compressor: Some(compressor),
            sources,
            decisions,
            left_out,
            selectors: request.selectors,
            settings,
            native_limit: NativeLimit::default(),
            at: 0,
            series: Arc::default(),
            at_series: 0,
            open: false,
            series_left_out: 0,
            buffer: ReadBuffer::default(),
            plain: Vec::new(),
            sent: 0,
            took: Duration::ZERO,
        })
    }

    fn used(&self) -> Use {
        let groups = self.groups.as_ref().map(Groups::size).unwrap_or_default();
        Use {
            series: self.store.series_count() + groups.series,
            families: self.store.family_count() + groups.families,
            groups: groups.groups,
            connections: self.connections(),
            inflight_push_bytes: self.inflight_bytes(),
            pending_series: self.store.pending_series(),
            delivery: self.delivery_used(),
        }
    }
}

impl Scrape {
    /// The next bytes of the answer; `None` at its end.
    ///
    /// # Errors
    /// If the compressor cannot get its memory.
    pub fn next_piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        let started = Instant::now();
        let piece = self.produce();
        self.took += started.elapsed();
        match &piece {
            Ok(Some(piece)) => self.sent += piece.len(),
            Ok(None) => {
                self.telemetry.scraped(self.sent, self.took);
                self.telemetry.left_out_of_scrape(self.left_out, self.series_left_out);
            }
            Err(_) => {}
        }
        piece
    }

    fn produce(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut piece = Vec::new();
        // A compressor may keep for a while what it is given.
        while piece.is_empty() {
            let mut plain = std::mem::take(&mut self.plain);
            plain.clear();
            self.fill(&mut plain);
            let Some(compressor) = &mut self.compressor else { return Ok(None) };
            compressor.write(&plain, &mut piece)?;
            self.plain = plain;
            if self.encoder.is_none()
                && let Some(compressor) = self.compressor.take()
            {
                compressor.finish(&mut piece)?;
                return Ok((!piece.is_empty()).then_some(piece));
            }
        }
        Ok(Some(piece))
    }

    /// Encodes up to the size of a piece.
    fn fill(&mut self, out: &mut Vec<u8>) {
        while out.len() < PIECE_BYTES
            && let Some(encoder) = &mut self.encoder
        {
            let Some((source, decision)) =
                self.sources.get(self.at).zip(self.decisions.get(self.at))
            else {
                self.series_left_out = encoder.series_left_out();
                if let Some(encoder) = self.encoder.take() {
                    encoder.finish(out);
                }
                return;
            };
            let Some(decision) = decision else {
                self.at += 1;
                continue;
            };
            if !self.open {
                encoder.begin_family(&decision.of(source.head()));
                self.open = true;
            }
            match source {
                Source::Own(own) => {
                    let shown = own.series.iter().filter(|(labels, _)| {
                        self.selectors.is_empty()
                            || self.selectors.iter().any(|s| s.matches(&own.name, labels))
                    });
                    for (labels, value) in shown {
                        encoder.series(out, labels.as_bytes(), &value.reading(), None);
                    }
                }
                Source::Shown(shown) => {
                    if self.at_series == 0
                        && let Some(own) = shown.own()
                    {
                        for (labels, value) in &own.series {
                            encoder.series(out, labels.as_bytes(), &value.reading(), None);
                        }
                    }
                    while out.len() < PIECE_BYTES
                        && let Some(series) = shown.series().get(self.at_series)
                    {
                        self.at_series += 1;
                        let (labels, created) = (series.labels(), series.created_ms());
                        encoder.series(out, labels.as_bytes(), &series.reading(), created);
                    }
                    if self.at_series < shown.series().len() {
                        return;
                    }
                    self.at_series = 0;
                }
                Source::Stored { family, kind, .. } => {
                    if self.at_series == 0 {
                        self.series = family.series();
                        self.native_limit = self.settings.native_limit(family.name(), *kind);
                    }
                    while out.len() < PIECE_BYTES
                        && let Some(series) = self.series.get(self.at_series)
                    {
                        self.at_series += 1;
                        if !self.selectors.is_empty() {
                            let (name, labels) = (family.name(), series.labels());
                            if !self.selectors.iter().any(|s| s.matches(name, labels)) {
                                continue;
                            }
                        }
                        let limit = match kind {
                            Kind::Histogram | Kind::GaugeHistogram => {
                                self.native_limit.of(series.labels())
                            }
                            _ => 0,
                        };
                        let buffer = &mut self.buffer;
                        series.with_state(|state| state.read(*kind, limit, buffer));
                        let created = Some(series.created_ms);
                        encoder.series(out, series.label_bytes(), &buffer.reading(), created);
                    }
                    if self.at_series < self.series.len() {
                        return;
                    }
                    self.series = Arc::default();
                    self.at_series = 0;
                }
            }
            encoder.end_family(out);
            self.open = false;
            self.at += 1;
        }
    }
}
