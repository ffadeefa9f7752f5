//! What is learned from earlier pushes: programs push the same text again and again, with other values.
//!
//! A *layout* is a body of which it is known where the values are. A body of the same layout is compared
//! with it instead of parsed. If it also comes under a grouping key that was seen with this layout, its
//! series need not be looked up either; this works for grouping keys that are remembered and so have a
//! number. Everything here is a shortcut: whatever it cannot do, or is not sure of, goes the long way,
//! with the same result.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::num::NonZeroU64;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::Settings;
use crate::format::negotiate::PushFormat;
use crate::format::{openmetrics, protobuf, text};
use crate::model::Exposition;
use crate::store::{Known, Plan};

/// How many layouts are kept. Each costs a comparison, which usually ends at once.
const LAYOUTS_MAX: usize = 8;
/// How many grouping keys are remembered for each.
const GROUPS_MAX: usize = 4096;
/// Longer bodies are rare, and their layouts would take much memory.
const BODY_BYTES_MAX: usize = 128 << 10;
/// How many recent bodies are remembered by their hash. Only a body whose form is seen twice becomes a
/// layout.
const SEEN_MAX: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Layouts {
    /// The oldest one comes first, and is replaced next.
    layouts: Vec<Layout>,
    seen: [u64; SEEN_MAX],
    next_seen: usize,
    hasher: RandomState,
    /// The settings they were made under; with others they are worthless.
    settings: Option<Arc<Settings>>,
}

#[derive(Debug)]
struct Layout {
    form: Form,
    exposition: Exposition,
    /// By [`Grouping::number`](crate::model::Grouping::number).
    groups: HashMap<NonZeroU64, Known, RandomState>,
}

/// What bodies of a layout have in common.
#[derive(Debug)]
enum Form {
    /// One of them; the exposition has the places of its values.
    Text(Box<[u8]>),
    Protobuf(protobuf::Form),
}

impl Form {
    /// `None` if it is not known which parts of the body are values, or a layout would not pay.
    fn of(format: PushFormat, body: &[u8], exposition: &Exposition) -> Option<Form> {
        match format {
            PushFormat::Text => (!exposition.slots().is_empty()).then(|| Form::Text(body.into())),
            PushFormat::Protobuf => protobuf::Form::of(body, exposition).map(Form::Protobuf),
            PushFormat::OpenMetrics => None,
        }
    }

    /// `exposition` is the one that the form was made with.
    fn hash(&self, exposition: &Exposition, hasher: &mut impl Hasher) {
        match self {
            Form::Text(body) => {
                let mut from = 0;
                for slot in exposition.slots() {
                    hasher.write(&body[from..slot.start as usize]);
                    from = slot.end as usize;
                }
                hasher.write(&body[from..]);
            }
            Form::Protobuf(form) => form.hash(hasher),
        }
    }
}

impl Layout {
    /// Puts the values of a body into the exposition. False if the body has another layout.
    fn read(&mut self, format: PushFormat, body: &[u8]) -> bool {
        match (&self.form, format) {
            (Form::Text(before), PushFormat::Text) => {
                text::read_again(before, &mut self.exposition, body)
            }
            (Form::Protobuf(form), PushFormat::Protobuf) => {
                form.read_again(&mut self.exposition, body)
            }
            _ => false,
        }
    }
}

impl Layouts {
    /// Forgets everything if the settings have changed. False if layouts must not be used at all: with
    /// rules, what becomes of a series may differ from one grouping key to the next.
    pub(super) fn fit(&mut self, settings: &Arc<Settings>) -> bool {
        if !self.settings.as_ref().is_some_and(|known| Arc::ptr_eq(known, settings)) {
            self.layouts.clear();
            self.settings = Some(settings.clone());
        }
        settings.rules.is_empty() && settings.timestamps == crate::format::Timestamps::Reject
    }

    /// Lets go of series that were removed.
    pub(super) fn forget_removed(&mut self) {
        for layout in &mut self.layouts {
            layout.groups.retain(|_, known| !known.has_dead());
        }
    }

    /// Reads a body with a layout that is known for this group. Returns the position of the layout.
    pub(super) fn read(
        &mut self,
        format: PushFormat,
        body: &[u8],
        group: NonZeroU64,
    ) -> Option<usize> {
        let known =
            |layout: &mut Layout| layout.groups.contains_key(&group) && layout.read(format, body);
        self.layouts.iter_mut().position(known)
    }

    /// What [`Layouts::read`] has read; its labels may be those of another group. `None` if a series of
    /// this group was removed; for `removals` see [`Known::is_alive`].
    pub(super) fn get(
        &mut self,
        at: usize,
        group: NonZeroU64,
        removals: u64,
    ) -> Option<(&Exposition, &Known)> {
        let layout = self.layouts.get_mut(at)?;
        let known = layout.groups.get_mut(&group)?;
        known.is_alive(removals).then_some((&layout.exposition, known))
    }

    /// For series that are gone, or have changed so that the shortcut no longer works.
    pub(super) fn forget(&mut self, at: usize, group: NonZeroU64) {
        if let Some(layout) = self.layouts.get_mut(at) {
            layout.groups.remove(&group);
        }
    }

    /// Learns from a push that was parsed and merged; for `removals` see [`Known::is_alive`]. If its
    /// layout becomes a new one, `exposition` is taken and replaced with another.
    pub(super) fn learn(
        &mut self,
        format: PushFormat,
        body: &[u8],
        group: NonZeroU64,
        exposition: &mut Exposition,
        plan: &Plan,
        removals: u64,
    ) {
        if exposition.series_len() == 0
            || body.len() > BODY_BYTES_MAX
            || format == PushFormat::Text && openmetrics::has_eof(body)
        {
            return;
        }
        // Which lines belong to one series also depends on the labels of the path.
        let is_like = |layout: &mut Layout| {
            layout.read(format, body) && layout.exposition.has_places_of(exposition)
        };
        let at = self.layouts.iter_mut().position(is_like);
        let Some(at) = at.or_else(|| self.add(format, body, exposition)) else { return };
        let layout = &mut self.layouts[at];
        let like = layout.groups.values().next();
        let Some(known) = plan.known(&layout.exposition, removals, like) else { return };
        if layout.groups.len() >= GROUPS_MAX {
            layout.groups.clear();
        }
        layout.groups.insert(group, known);
    }

    /// How many layouts, and groups of all of them, are remembered.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        (self.layouts.len(), self.layouts.iter().map(|layout| layout.groups.len()).sum())
    }

    fn add(
        &mut self,
        format: PushFormat,
        body: &[u8],
        exposition: &mut Exposition,
    ) -> Option<usize> {
        let form = Form::of(format, body, exposition)?;
        let mut hasher = self.hasher.build_hasher();
        form.hash(exposition, &mut hasher);
        let hash = hasher.finish();
        if !self.seen.contains(&hash) {
            self.seen[self.next_seen] = hash;
            self.next_seen = (self.next_seen + 1) % SEEN_MAX;
            return None;
        }
        let spare = match self.layouts.len() {
            LAYOUTS_MAX => self.layouts.remove(0).exposition,
            _ => Exposition::new(exposition.hasher().clone()),
        };
        let exposition = std::mem::replace(exposition, spare);
        self.layouts.push(Layout { form, exposition, groups: HashMap::default() });
        Some(self.layouts.len() - 1)
    }
}
