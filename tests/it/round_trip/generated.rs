//! The same for generated states: sums of several pushes, of what the tested formats can express.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{EVERY, Format, Pair};
use crate::harness::{Message, message, value};
use crate::oracles::{PROTOBUF, push_as};

/// What every format can express, what only OpenMetrics and protobuf can, and what only protobuf can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Wealth {
    Plain,
    Typed,
    Native,
}

impl Wealth {
    fn carriers(self) -> &'static [Format] {
        &EVERY[self as usize..]
    }
}

/// A series as raw numbers, whose meaning depends on the kind.
#[derive(Clone, Debug)]
struct Series {
    kind: u8,
    family: u8,
    label: u8,
    value: f64,
    layout: u8,
    counts: Vec<u32>,
    exemplar: Option<(u8, u64)>,
}

fn series() -> impl Strategy<Value = Series> {
    let value = prop_oneof![
        (0..1000u32).prop_map(f64::from),
        (0..1000u32).prop_map(|value| f64::from(value) / 10.0),
        (0.0..1e300),
        Just(5e-324),
        Just(9_007_199_254_740_993.0),
    ];
    let exemplar = proptest::option::of((0..3u8, 0..2_000_000_000_000u64));
    (0..6u8, 0..2u8, 0..3u8, value, 0..4u8, vec(0..100_000u32, 1..6), exemplar).prop_map(
        |(kind, family, label, value, layout, counts, exemplar)| Series {
            kind,
            family,
            label,
            value,
            layout,
            counts,
            exemplar,
        },
    )
}

const LAYOUTS: [&[f64]; 4] = [&[0.1, 1.0, 10.0], &[0.5, 1.0], &[], &[1e-9, 0.1, 1e6, 1e21]];

impl Series {
    fn family(&self) -> Message {
        let n = self.family;
        let (name, kind) = match self.kind {
            0 => (format!("c{n}_total"), 0),
            1 => (format!("g.{n}"), 1),
            2 => (format!("u{n}"), 3),
            3 => (format!("s{n}"), 2),
            4 => (format!("h.{n}_seconds"), 4),
            _ => (format!("gh{n}"), 5),
        };
        Message::family(&name, kind)
    }

    fn metric(&self, wealth: Wealth) -> (u32, Message) {
        let with_exemplar = |message: Message, field| match self.exemplar {
            Some(exemplar) if wealth > Wealth::Plain => message.message(field, write(exemplar)),
            _ => message,
        };
        match self.kind {
            0 => (3, with_exemplar(message().double(1, self.value), 2)),
            1 => value::gauge(if self.layout == 0 { -self.value } else { self.value } + 0.0),
            2 => value::untyped(self.value),
            3 => (4, message().int(1, self.counts[0].into()).double(2, self.value)),
            _ => (7, self.histogram(wealth, &with_exemplar)),
        }
    }

    fn histogram(
        &self,
        wealth: Wealth,
        with_exemplar: &dyn Fn(Message, u32) -> Message,
    ) -> Message {
        // In text, counts are floats.
        let unit = if wealth > Wealth::Plain { 1 << 40 } else { 1 };
        let counts = || self.counts.iter().map(|&count| u64::from(count) * unit + 1);
        let count = counts().sum();
        let mut histogram = message().int(1, count).double(2, self.value);
        if wealth < Wealth::Native || self.label != 0 {
            let mut cumulative = 0;
            for (&bound, count) in LAYOUTS[usize::from(self.layout)].iter().zip(counts()) {
                cumulative += count;
                let bucket = message().int(1, cumulative).double(2, bound);
                histogram = histogram.message(3, with_exemplar(bucket, 3));
            }
        }
        if wealth < Wealth::Native || self.label == 1 {
            return histogram;
        }
        let zero_threshold = [0.0, 0.001, 0.75, 3.0][usize::from(self.layout)];
        histogram = histogram
            .sint(5, i64::from(self.layout) - 1)
            .double(6, zero_threshold)
            .int(7, counts().next().unwrap_or_default())
            .message(12, message().sint(1, -2).int(2, self.counts.len() as u64 - 1));
        let mut before = 0;
        for count in counts().skip(1) {
            histogram = histogram.sint(13, count as i64 - before);
            before = count as i64;
        }
        with_exemplar(histogram, 16)
    }
}

fn write((label, milliseconds): (u8, u64)) -> Message {
    let nanos = milliseconds % 1000 * 1_000_000;
    message()
        .message(1, message().text(1, "id").text(2, &label.to_string()))
        .double(2, 0.5)
        .message(3, message().int(1, milliseconds / 1000).int(2, nanos))
}

/// A body with each series once.
fn body(series: &[Series], wealth: Wealth) -> Vec<u8> {
    let mut distinct = BTreeMap::new();
    for series in series {
        // Gauge histograms have no type of their own in text.
        if series.kind < 5 || wealth > Wealth::Plain {
            distinct.insert((series.kind, series.family, series.label), series);
        }
    }
    let bodies = distinct.values().map(|series| {
        let label = series.label.to_string();
        let labels = [("x.y", &*label), ("z", "1")];
        series.family().metric(&labels, series.metric(wealth)).delimited()
    });
    bodies.collect::<Vec<_>>().concat()
}

#[test]
fn generated_states_make_the_trip() {
    let pair = std::cell::RefCell::new(Pair::start());
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) };
    let wealth = prop::sample::select(vec![Wealth::Plain, Wealth::Typed, Wealth::Native]);
    proptest!(config, |(wealth in wealth, pushes in vec(vec(series(), 1..12), 1..4))| {
        let pair = &mut *pair.borrow_mut();
        for &by in wealth.carriers() {
            pair.wipe();
            for push in &pushes {
                push_as(&pair.first, PROTOBUF, body(push, wealth));
            }
            let (before, after) = pair.travel(by);
            prop_assert_eq!(after, before, "by {:?}", by);
        }
    });
}
