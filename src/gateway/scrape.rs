//! One scrape: families in order, encoded and compressed piece by piece (DESIGN 5).
//!
//! The list of series is taken when the scrape begins; each value is read under its own short lock
//! when its turn comes, and encoded when no lock is held. Whoever asks for the pieces decides how
//! fast; a reader that stalls holds one piece and two lists of pointers, and nobody up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Gateway;
use crate::format::compress::{self, Compression, Levels};
use crate::format::encode::{Encoder, Options};
use crate::format::escaping::Escaping;
use crate::format::negotiate::Format;
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
    selectors: Vec<Selector>,
    native_buckets: usize,
    encoder: Encoder,
    /// Taken when it has finished.
    compressor: Option<compress::Encoder>,
    /// The source at hand, and its next series.
    at: usize,
    series: Arc<Vec<SeriesRef>>,
    at_series: usize,
    open: bool,
    done: bool,
    buffer: ReadBuffer,
    plain: Vec<u8>,
    sent: usize,
    took: Duration,
}

/// A family to show.
#[derive(Debug)]
enum Source {
    Stored { family: Arc<Family>, kind: Kind, metadata: Metadata },
    Own(OwnSnapshot),
}

impl Source {
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
        }
    }
}

impl Gateway {
    /// Begins a scrape of what is stored now.
    pub fn scrape(&self, request: ScrapeRequest) -> Scrape {
        let settings = self.settings();
        let mut sources = Vec::new();
        if request.content != Content::Own {
            let families = self.store.families();
            sources.extend(families.iter().map(|family| Source::Stored {
                family: family.clone(),
                kind: family.kind(),
                metadata: family.metadata(),
            }));
        }
        if request.content != Content::Pushed {
            sources.extend(self.telemetry.snapshot(self.used()).into_iter().map(Source::Own));
        }
        let heads: Vec<FamilyHead<'_>> = sources.iter().map(Source::head).collect();
        let options = Options { created_samples: settings.created_samples };
        let encoder = Encoder::new(request.format, request.escaping, options, &heads);
        let compressor = Compressor::new(request.compression, settings.gzip_level);
        Scrape {
            telemetry: self.telemetry.clone(),
            sources,
            selectors: request.selectors,
            native_buckets: settings.native_buckets,
            encoder,
            compressor,
            at: 0,
            series: Arc::default(),
            at_series: 0,
            open: false,
            done: false,
            buffer: ReadBuffer::default(),
            plain: Vec::new(),
            sent: 0,
            took: Duration::ZERO,
        }
    }

    fn used(&self) -> Use {
        Use {
            series: self.store.series_count(),
            families: self.store.family_count(),
            connections: self.connections(),
            inflight_push_bytes: self.inflight_bytes(),
        }
    }
}

impl Scrape {
    /// The next bytes of the answer; `None` at its end.
    pub fn next_piece(&mut self) -> Option<Vec<u8>> {
        let started = Instant::now();
        let piece = self.produce();
        self.took += started.elapsed();
        match &piece {
            Some(piece) => self.sent += piece.len(),
            None => {
                self.telemetry.scraped(self.sent, self.took);
                let (families, series) = self.encoder.left_out();
                self.telemetry.left_out_of_scrape(families, series);
            }
        }
        piece
    }

    fn produce(&mut self) -> Option<Vec<u8>> {
        // A compressor may keep a while what it is given.
        let mut piece = Vec::new();
        while piece.is_empty() && !self.done {
            self.fill();
            match &mut self.compressor {
                None => piece = std::mem::take(&mut self.plain),
                Some(compressor) => {
                    compressor.write(&self.plain, &mut piece);
                    self.plain.clear();
                    if self.done {
                        compressor.finish(&mut piece);
                    }
                }
            }
        }
        (!piece.is_empty()).then_some(piece)
    }

    /// Encodes up to the size of a piece.
    fn fill(&mut self) {
        while self.plain.len() < PIECE_BYTES {
            let Some(source) = self.sources.get(self.at) else {
                self.encoder.finish(&mut self.plain);
                self.done = true;
                return;
            };
            match source {
                Source::Own(own) => {
                    self.encoder.begin_family(&mut self.plain, self.at);
                    for (labels, value) in &own.series {
                        self.encoder.series(&mut self.plain, labels.as_bytes(), &value.reading(), None);
                    }
                    self.encoder.end_family(&mut self.plain);
                    self.at += 1;
                }
                Source::Stored { family, kind, .. } => {
                    if self.at_series == 0 && !self.open {
                        self.series = family.series();
                    }
                    let (name, kind) = (family.name(), *kind);
                    while self.plain.len() < PIECE_BYTES {
                        let Some(series) = self.series.get(self.at_series) else { break };
                        self.at_series += 1;
                        let wanted = self.selectors.is_empty()
                            || self.selectors.iter().any(|s| s.matches(name, series.labels()));
                        if !wanted {
                            continue;
                        }
                        if !self.open {
                            self.encoder.begin_family(&mut self.plain, self.at);
                            self.open = true;
                        }
                        series.with_state(|state| state.read(kind, self.native_buckets, &mut self.buffer));
                        let (labels, reading) = (series.label_bytes(), self.buffer.reading());
                        let created = Some(series.created_ms);
                        self.encoder.series(&mut self.plain, labels, &reading, created);
                    }
                    if self.at_series == self.series.len() {
                        if self.open {
                            self.encoder.end_family(&mut self.plain);
                        }
                        self.series = Arc::default();
                        (self.open, self.at_series) = (false, 0);
                        self.at += 1;
                    }
                }
            }
        }
    }
}
