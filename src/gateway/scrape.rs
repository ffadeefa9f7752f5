//! One scrape: families in order, encoded and compressed piece by piece (DESIGN 5).
//!
//! The list of series is taken when the scrape begins. Each value is read under a short lock of its own
//! when its turn comes, and encoded without a lock. The reader sets the pace by asking for pieces: one
//! that stalls keeps a piece and two lists of pointers in memory, and blocks nobody.

use std::io;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::Guard;
use bytes::Bytes;

use super::chunks::{self, Chunk, Part};
use super::kept::{self, FamilyStamp, Kept, Ready, Stamp, Way};
use super::pool::Pool;
use super::scrapers::Scraper;
use super::shown::{self, Shown};
use super::{Gateway, Settings};
use crate::format::compress::{self, Compression, Envelope, Levels};
use crate::format::encode;
use crate::format::encode::{Decision, Encoder, Options, Plan};
use crate::format::escaping::Escaping;
use crate::format::negotiate::Format;
use crate::groups::Groups;
use crate::model::{FamilyHead, Kind, ReadBuffer};
use crate::rules::Selector;
use crate::store::{Family, Metadata, SeriesRef};
use crate::telemetry::{OwnSnapshot, Telemetry, Use};

/// Approximate size of a piece, in bytes.
const PIECE_BYTES: usize = 256 << 10;

/// How many series are fetched from memory together: enough to keep a core busy waiting for all of them
/// at once, and few enough to still be in its nearest cache when their turn comes.
const FETCHED: usize = 32;

/// How a scrape is to be answered.
#[derive(Clone, Debug)]
pub struct ScrapeRequest {
    pub format: Format,
    pub escaping: Escaping,
    pub compression: Compression,
    /// A series must match one of them; no selector means all series.
    pub selectors: Vec<Selector>,
    pub content: Content,
}

/// Which series a scrape shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    Pushed,
    PushedAndOwn,
    Own,
}

/// A scrape in progress: call [`Scrape::next_piece`] until there is none.
#[derive(Debug)]
pub struct Scrape {
    telemetry: Arc<Telemetry>,
    sources: Vec<Source>,
    /// How to write each source; `None` if it is left out.
    decisions: Vec<Option<Decision>>,
    options: Options,
    left_out: usize,
    selectors: Vec<Selector>,
    /// Series that were born at or after this time are new to this scraper, and are shown at zero.
    new_since_ms: i64,
    settings: Arc<Settings>,
    chunks: Vec<Chunk>,
    /// The index of the current chunk.
    at: usize,
    /// Chunks of earlier scrapes, if this one may use them.
    kept: Option<(Arc<Kept>, kept::Use)>,
    compressor: compress::Encoder,
    /// `None` once everything is written.
    envelope: Option<Envelope>,
    /// Bytes that are ready, but too few to be sent yet.
    ready: Vec<u8>,
    series_left_out: usize,
    buffer: ReadBuffer,
    pool: Pool,
    /// What is encoded, but not compressed yet.
    plain: Vec<u8>,
    sent: usize,
    took: Duration,
}

/// A family to show.
#[derive(Debug)]
pub(super) enum Source {
    Stored {
        family: Arc<Family>,
        version: u64,
        kind: Kind,
        metadata: Metadata,
    },
    Own(OwnSnapshot),
    /// A family of the groups, in pushgateway mode.
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

    /// An estimate of its length in the text format.
    pub(super) fn bytes(&self) -> usize {
        const LINE: usize = 24;
        match self {
            Source::Stored { family, .. } => {
                let line = family.label_bytes() + family.len() * (family.name().len() + LINE);
                line * family.lines_per_series()
            }
            Source::Own(own) => own.series.len() * 100,
            Source::Shown(shown) => shown.bytes(),
        }
    }

    pub(super) fn hash(&self) -> u64 {
        match self {
            Source::Stored { family, .. } => family.name_hash(),
            Source::Own(_) | Source::Shown(_) => 1,
        }
    }

    pub(super) fn head(&self) -> FamilyHead<'_> {
        match self {
            Source::Stored { family, kind, metadata, .. } => FamilyHead {
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
    /// Begins a scrape of everything that is stored now.
    ///
    /// # Errors
    /// If the compressor cannot get its memory.
    pub fn scrape(&self, request: ScrapeRequest) -> io::Result<Scrape> {
        self.scrape_of(request, None)
    }

    /// The same for a scraper that scrapes repeatedly.
    ///
    /// # Errors
    /// If the compressor cannot get its memory.
    pub fn scrape_of(
        &self,
        request: ScrapeRequest,
        scraper: Option<&Scraper>,
    ) -> io::Result<Scrape> {
        let settings = Guard::into_inner(self.settings());
        // A scrape of only our own metrics shows nothing that was pushed.
        let scraper = scraper.filter(|_| request.content != Content::Own);
        // Before anything stored is looked at: series that are born later may still be new next time.
        // Wall time may step back, and then series that were born before the step would be new again.
        let now_ms = self.clock.now().steady_ms();
        let begun = scraper.map(|who| self.scrapers.begin(who, now_ms));
        let new_since_ms = begun.filter(|_| settings.zero_first).unwrap_or(i64::MAX);
        let keeping = settings.cache_bytes > 0 && request.selectors.is_empty();
        let mut sources = Vec::new();
        if request.content != Content::Own {
            let families = self.store.families();
            sources.extend(families.iter().map(|family| Source::Stored {
                // Before anything else of the family is looked at.
                version: if keeping { family.version() } else { 0 },
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
            // Sort families that are added up in among those of the groups; no name is in both.
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
        let way = Way { options, compression: request.compression };
        let kept = keeping.then(|| (self.kept.clone(), self.kept.begin(way, &settings)));
        let mut ready = self.pool.take();
        let envelope = Some(Envelope::begin(request.compression, &mut ready));
        Ok(Scrape {
            telemetry: self.telemetry.clone(),
            chunks: chunks::divide(&sources, &decisions, options),
            sources,
            decisions,
            options,
            left_out,
            selectors: request.selectors,
            new_since_ms,
            settings,
            at: 0,
            kept,
            compressor,
            envelope,
            ready,
            series_left_out: 0,
            buffer: ReadBuffer::default(),
            pool: self.pool.clone(),
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
    pub fn next_piece(&mut self) -> io::Result<Option<Bytes>> {
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

    fn produce(&mut self) -> io::Result<Option<Bytes>> {
        while self.ready.len() < PIECE_BYTES {
            let chunk = self.next_chunk()?;
            let Some(envelope) = &mut self.envelope else { return Ok(None) };
            let Some(chunk) = chunk else {
                let end = self.end()?;
                if let Some(mut envelope) = self.envelope.take() {
                    envelope.add(&end.sum);
                    self.ready.extend_from_slice(&end.bytes);
                    envelope.finish(&mut self.ready);
                }
                return Ok((!self.ready.is_empty()).then(|| self.share_ready()));
            };
            envelope.add(&chunk.sum);
            self.series_left_out += chunk.series_left_out;
            // Large chunks are sent without copying.
            if self.ready.is_empty() && chunk.bytes.len() >= PIECE_BYTES / 4 {
                return Ok(Some(chunk.bytes));
            }
            self.ready.extend_from_slice(&chunk.bytes);
        }
        Ok(Some(self.share_ready()))
    }

    fn share_ready(&mut self) -> Bytes {
        let next = self.pool.take();
        self.pool.share(mem::replace(&mut self.ready, next))
    }

    /// What follows the last chunk.
    fn end(&mut self) -> io::Result<compress::Chunk> {
        if let Some((kept, of)) = &self.kept {
            kept.end(of);
        }
        Encoder::new(self.options).finish(&mut self.plain);
        self.compressor.chunk(&mut self.plain)
    }

    fn next_chunk(&mut self) -> io::Result<Option<Ready>> {
        let Some(chunk) = self.chunks.get(self.at) else { return Ok(None) };
        self.at += 1;
        let nth = chunk.part.as_ref().map_or(0, |part| part.nth);
        let stamp = match &self.kept {
            Some((kept, of)) if chunk.keepable => {
                let stamp = self.stamp(chunk);
                if !self.may_have_new(chunk)
                    && let Some(ready) = kept.get(of, nth, &stamp)
                {
                    return Ok(Some(ready));
                }
                Some(stamp)
            }
            _ => None,
        };
        if self.plain.capacity() == 0 {
            self.plain = self.pool.take();
        }
        let mut maker = Maker {
            sources: &self.sources,
            decisions: &self.decisions,
            selectors: &self.selectors,
            settings: &self.settings,
            new_since_ms: self.new_since_ms,
            any_new: false,
            encoder: Encoder::new(self.options),
            buffer: &mut self.buffer,
            out: &mut self.plain,
        };
        maker.write(chunk);
        let (left_out, any_new) = (maker.encoder.series_left_out(), maker.any_new);
        let compress::Chunk { bytes, sum } = self.compressor.chunk(&mut self.plain)?;
        let bytes = match self.compressor.compression() {
            Compression::Identity => self.pool.share(bytes),
            _ => bytes.into(),
        };
        let ready = Ready { bytes, sum, series_left_out: left_out };
        // Series that are new to this scraper may not be new to others.
        if let (Some(stamp), Some((kept, of)), false) = (stamp, &self.kept, any_new) {
            kept.put(of, nth, stamp, &ready, self.settings.cache_bytes);
        }
        Ok(Some(ready))
    }

    /// Whether some series of these families may be new to the scraper.
    fn may_have_new(&self, chunk: &Chunk) -> bool {
        self.sources[chunk.sources.clone()].iter().any(|source| match source {
            Source::Stored { family, kind, .. } => has_new(family, *kind, self.new_since_ms),
            Source::Own(_) | Source::Shown(_) => false,
        })
    }

    fn stamp(&self, chunk: &Chunk) -> Stamp {
        let families = chunk.sources.clone().filter_map(|at| match &self.sources[at] {
            Source::Stored { family, version, .. } => {
                let decision = self.decisions[at].clone()?;
                Some(FamilyStamp { id: family.id(), version: *version, decision })
            }
            Source::Own(_) | Source::Shown(_) => None,
        });
        let part = chunk.part.as_ref();
        let part = part.map(|part| (part.number, part.range.start, part.range.end));
        Stamp { families: families.collect(), part }
    }
}

impl Drop for Scrape {
    fn drop(&mut self) {
        self.pool.give_back(mem::take(&mut self.plain));
        self.pool.give_back(mem::take(&mut self.ready));
    }
}

/// Whether some series was born since then, of a kind that starts at zero and only grows. Untyped
/// samples may be anything.
fn has_new(family: &Family, kind: Kind, since_ms: i64) -> bool {
    matches!(kind, Kind::Counter | Kind::Histogram | Kind::Summary)
        && family.last_birth_ms() >= since_ms
}

/// Writes one chunk.
struct Maker<'s> {
    sources: &'s [Source],
    decisions: &'s [Option<Decision>],
    selectors: &'s [Selector],
    settings: &'s Settings,
    new_since_ms: i64,
    /// Some series was shown at zero because it is new.
    any_new: bool,
    encoder: Encoder,
    buffer: &'s mut ReadBuffer,
    out: &'s mut Vec<u8>,
}

impl Maker<'_> {
    fn write(&mut self, chunk: &Chunk) {
        for at in chunk.sources.clone() {
            let (source, Some(decision)) = (&self.sources[at], &self.decisions[at]) else {
                continue;
            };
            let planned = decision.of(source.head());
            match &chunk.part {
                Some(part) if part.nth > 0 => self.encoder.continue_family(&planned),
                _ => self.encoder.begin_family(&planned),
            }
            match source {
                Source::Own(own) => self.own(own),
                Source::Shown(shown) => self.shown(shown, chunk.part.as_ref()),
                Source::Stored { family, kind, .. } => match &chunk.part {
                    Some(part) => self.stored(family, *kind, &part.series[part.range.clone()]),
                    None => self.stored(family, *kind, &family.series()),
                },
            }
            self.encoder.end_family(self.out);
        }
    }

    fn own(&mut self, own: &OwnSnapshot) {
        for (labels, value) in &own.series {
            if self.is_selected(&own.name, labels) {
                self.encoder.series(self.out, labels.as_bytes(), &value.reading(), None);
            }
        }
    }

    fn shown(&mut self, shown: &Shown, part: Option<&Part>) {
        if part.is_none_or(|part| part.nth == 0)
            && let Some(own) = shown.own()
        {
            for (labels, value) in &own.series {
                self.encoder.series(self.out, labels.as_bytes(), &value.reading(), None);
            }
        }
        let range = part.map_or(0..shown.series().len(), |part| part.range.clone());
        for series in &shown.series()[range] {
            let (labels, created) = (series.labels(), series.created_ms());
            self.encoder.series(self.out, labels.as_bytes(), &series.reading(), created);
        }
    }

    fn stored(&mut self, family: &Family, kind: Kind, all: &[SeriesRef]) {
        let native = self.settings.native_limit(family.name(), kind);
        // The list was taken before, so what the family says now holds for everything in it.
        self.encoder.names_are_plain(!family.has_quoted_names());
        self.encoder.names_are_free(!family.has_reserved_names());
        let has_new = has_new(family, kind, self.new_since_ms);
        for some in all.chunks(FETCHED) {
            SeriesRef::fetch(some);
            for series in some {
                if !self.selectors.is_empty() && !self.is_selected(family.name(), &series.labels())
                {
                    continue;
                }
                let limit = native.of(series);
                series.with_state(|state| state.read(kind, limit, self.buffer));
                if has_new && series.created_ms() >= self.new_since_ms {
                    self.buffer.set_to_zero();
                    self.any_new = true;
                }
                let created = Some(series.created_ms());
                let (labels, reading) = (series.pieces_in(family), self.buffer.reading());
                self.encoder.series_in_pieces(self.out, labels, &reading, created);
            }
        }
    }

    fn is_selected(&self, family: &str, labels: &str) -> bool {
        self.selectors.is_empty() || self.selectors.iter().any(|s| s.matches(family, labels))
    }
}
