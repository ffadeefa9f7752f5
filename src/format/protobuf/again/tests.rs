//! Bodies of a known form with other values, and with all kinds of changes.

use proptest::prelude::*;

use super::*;
use crate::format::testing::{edit, edits};
use crate::format::{Timestamps, protobuf};
use crate::model::Grouping;

/// The values and lengths to write into a body, used in turn.
#[derive(Clone, Debug)]
struct Values {
    doubles: Vec<f64>,
    counts: Vec<u64>,
    times: Vec<(i64, i32)>,
    /// How many more bytes lengths and counts take than they need.
    padding: Vec<usize>,
}

impl Values {
    fn ones() -> Values {
        Values { doubles: vec![1.0], counts: vec![1], times: vec![(1, 1)], padding: vec![0] }
    }
}

/// Writes messages with numbers from [`Values`].
struct Writer<'v> {
    values: &'v Values,
    taken: [usize; 4],
}

impl Writer<'_> {
    fn take(&mut self, which: usize) -> usize {
        self.taken[which] += 1;
        self.taken[which] - 1
    }

    fn varint(&mut self, value: u64) -> Vec<u8> {
        let at = self.take(3);
        let padding = self.values.padding[at % self.values.padding.len()];
        let mut bytes = Vec::new();
        prost::encoding::encode_varint(value, &mut bytes);
        for _ in 0..padding.min(10 - bytes.len()) {
            *bytes.last_mut().unwrap() |= 0x80;
            bytes.push(0);
        }
        bytes
    }

    fn message(&mut self, number: u8, parts: &[Vec<u8>]) -> Vec<u8> {
        let content = parts.concat();
        [vec![number << 3 | 2], self.varint(content.len() as u64), content].concat()
    }

    fn text(&mut self, number: u8, text: &str) -> Vec<u8> {
        [&[number << 3 | 2, text.len() as u8], text.as_bytes()].concat()
    }

    fn double(&mut self, number: u8) -> Vec<u8> {
        let at = self.take(0);
        fixed(number, self.values.doubles[at % self.values.doubles.len()])
    }

    fn count(&mut self, number: u8) -> Vec<u8> {
        let at = self.take(1);
        let count = self.values.counts[at % self.values.counts.len()];
        [vec![number << 3], self.varint(count)].concat()
    }

    fn created(&mut self, number: u8) -> Vec<u8> {
        let at = self.take(2);
        let (seconds, nanos) = self.values.times[at % self.values.times.len()];
        let time = wire::Timestamp { seconds: Some(seconds), nanos: Some(nanos) };
        self.message(number, &[time.encode_to_vec()])
    }

    fn family(&mut self, name: &str, kind: u8, metrics: &[Vec<u8>]) -> Vec<u8> {
        let head = [self.text(1, name), self.text(2, "Help."), vec![3 << 3, kind]].concat();
        let parts: Vec<_> = [head].into_iter().chain(metrics.iter().cloned()).collect();
        let content = parts.concat();
        [self.varint(content.len() as u64), content].concat()
    }

    fn label(&mut self, value: &str) -> Vec<u8> {
        let parts = [self.text(1, "a"), self.text(2, value)].concat();
        [&[1 << 3 | 2, parts.len() as u8], &*parts].concat()
    }

    /// Two metrics of a type, each with a label and what `value` writes.
    fn metrics(&mut self, value: impl Fn(&mut Self) -> Vec<u8>) -> [Vec<u8>; 2] {
        ["x", "y"].map(|label| {
            let parts = [self.label(label), value(self)];
            self.message(4, &parts)
        })
    }
}

fn fixed(number: u8, value: f64) -> Vec<u8> {
    [&[number << 3 | 1], &value.to_le_bytes()[..]].concat()
}

fn body(values: &Values) -> Vec<u8> {
    let mut w = Writer { values, taken: [0; 4] };
    let counter = w.metrics(|w| {
        let parts = [w.double(1), w.created(3)];
        w.message(3, &parts)
    });
    let gauge = w.metrics(|w| {
        let parts = [w.double(1)];
        w.message(2, &parts)
    });
    let untyped = w.metrics(|w| {
        let parts = [w.double(1)];
        w.message(5, &parts)
    });
    let summary = w.metrics(|w| {
        let quantile = [fixed(1, 0.5), w.double(2)];
        let parts = [w.count(1), w.double(2), w.message(3, &quantile), w.created(4)];
        w.message(4, &parts)
    });
    let histogram = w.metrics(|w| {
        let mut parts = vec![w.count(1), w.double(2)];
        for bound in [0.5, 1.0, f64::INFINITY] {
            let bucket = [w.count(1), fixed(2, bound)];
            parts.push(w.message(3, &bucket));
        }
        parts.push(w.created(15));
        w.message(7, &parts)
    });
    let empty = w.message(7, &[]);
    let bare = [w.message(4, &[empty])];
    [
        w.family("c", 0, &counter),
        w.family("g", 1, &gauge),
        w.family("u", 3, &untyped),
        w.family("s", 2, &summary),
        w.family("h", 4, &histogram),
        w.family("bare", 4, &bare),
    ]
    .concat()
}

fn parsed(body: &[u8]) -> Option<(Exposition, String)> {
    let mut exposition = Exposition::default();
    let grouping = Grouping::default();
    protobuf::parse(body, exposition.build(&grouping), Timestamps::Reject).ok()?;
    let shown = show(&exposition);
    Some((exposition, shown))
}

fn show(exposition: &Exposition) -> String {
    let series: Vec<_> = exposition
        .series()
        .map(|s| (s.family, s.labels, s.value, s.created_ms, s.exemplars))
        .collect();
    format!("{series:?} {}", exposition.samples())
}

fn known() -> (Form, Exposition) {
    let before = body(&Values::ones());
    let (exposition, _) = parsed(&before).unwrap();
    (Form::of(&before, &exposition).unwrap(), exposition)
}

/// Unusual bodies are left to the parser.
#[test]
fn no_form_is_made_of_what_is_unusual() {
    let mut w = Writer { values: &Values::ones(), taken: [0; 4] };
    let metric = |parts: &[Vec<u8>]| {
        let mut w = Writer { values: &Values::ones(), taken: [0; 4] };
        let metric = w.message(4, parts);
        w.family("x", 4, &[metric])
    };
    let plain = [w.count(1), w.double(2)].concat();
    let with = |more: Vec<u8>| {
        let mut w = Writer { values: &Values::ones(), taken: [0; 4] };
        metric(&[w.message(7, &[plain.clone(), more])])
    };
    let bucket = |bound| {
        let mut w = Writer { values: &Values::ones(), taken: [0; 4] };
        let parts = [w.count(1), fixed(2, bound)];
        w.message(3, &parts)
    };
    let histogram = w.message(7, std::slice::from_ref(&plain));
    let exemplar = w.message(3, &[fixed(2, 1.0)]);
    for (name, body, usual) in [
        ("plain", with(vec![]), true),
        ("a bucket", with(bucket(1.0)), true),
        ("buckets out of order", with([bucket(1.0), bucket(0.5)].concat()), false),
        ("a float count", with(fixed(4, 1.0)), false),
        ("a zero threshold", with(fixed(6, 0.0)), false),
        ("an unknown field", with(vec![0xa0, 0x06, 1]), false),
        ("a second histogram", metric(&[histogram.clone(), histogram.clone()]), false),
        ("a gauge beside it", metric(&[histogram, w.message(2, &[])]), false),
        ("an exemplar", with(w.message(3, &[plain.clone(), exemplar])), false),
        ("two start times", with([w.created(15), w.created(15)].concat()), false),
    ] {
        let (exposition, _) = parsed(&body).unwrap_or_else(|| panic!("{name} is refused"));
        assert_eq!(Form::of(&body, &exposition).is_some(), usual, "{name}");
    }
}

#[test]
fn more_or_less_than_the_form_is_refused() {
    let (form, mut exposition) = known();
    let whole = body(&Values::ones());
    assert!(form.read_again(&mut exposition, &whole));
    for length in 0..whole.len() {
        assert!(!form.read_again(&mut exposition, &whole[..length]), "{length} bytes");
    }
    let mut w = Writer { values: &Values::ones(), taken: [0; 4] };
    let more = w.family("more", 1, &[]);
    assert!(!form.read_again(&mut exposition, &[&*whole, &more].concat()));
    let renamed: Vec<u8> = whole.iter().map(|&b| if b == b'y' { b'z' } else { b }).collect();
    assert!(parsed(&renamed).is_some());
    assert!(!form.read_again(&mut exposition, &renamed));
}

/// With any byte of a body changed, what is accepted is read as by the parser.
#[test]
fn any_other_byte_is_taken_as_the_parser_takes_it() {
    let (form, mut exposition) = known();
    let whole = body(&Values::ones());
    let mut taken = 0;
    for at in 0..whole.len() {
        for bits in [0x01, 0x02, 0x80, 0xff] {
            let mut body = whole.clone();
            body[at] ^= bits;
            if form.read_again(&mut exposition, &body) {
                taken += 1;
                assert_eq!(Some(show(&exposition)), parsed(&body).map(|(_, s)| s), "byte {at}");
            }
        }
    }
    assert!(taken > 100, "{taken}");
}

fn values(padding: std::ops::Range<usize>) -> impl Strategy<Value = Values> {
    let count = prop_oneof![0_u64..200, any::<u64>()];
    let time = (prop_oneof![0_i64..2_000_000_000, any::<i64>()], -2_i32..1_100_000_000);
    (
        prop::collection::vec(any::<f64>(), 1..20),
        prop::collection::vec(count, 1..20),
        prop::collection::vec(time, 1..6),
        prop::collection::vec(padding, 1..40),
    )
        .prop_map(|(doubles, counts, times, padding)| Values {
            doubles,
            counts,
            times,
            padding,
        })
}

/// Values that take as many bytes as ones.
fn short_values() -> impl Strategy<Value = Values> {
    let time = (0_i64..0x80, 0_i32..0x80);
    (
        prop::collection::vec(any::<f64>(), 1..20),
        prop::collection::vec(0_u64..0x80, 1..20),
        prop::collection::vec(time, 1..6),
    )
        .prop_map(|(doubles, counts, times)| Values {
            doubles,
            counts,
            times,
            padding: vec![0],
        })
}

proptest! {
    #[test]
    fn values_that_have_not_moved(values in short_values()) {
        let (form, mut exposition) = known();
        let body = body(&values);
        prop_assert!(form.read_in_place(&mut exposition, &body).is_some());
        prop_assert_eq!(Some(show(&exposition)), parsed(&body).map(|(_, shown)| shown));
    }

    #[test]
    fn other_values_are_read_again(values in values(0..1)) {
        let (form, mut exposition) = known();
        let body = body(&values);
        prop_assert!(form.read_again(&mut exposition, &body));
        prop_assert_eq!(Some(show(&exposition)), parsed(&body).map(|(_, shown)| shown));
    }

    #[test]
    fn it_reads_what_the_parser_reads(
        values in values(0..3),
        edits in edits(0..3),
    ) {
        let (form, mut exposition) = known();
        let mut body = body(&values);
        edit(&mut body, edits);
        if form.read_again(&mut exposition, &body) {
            prop_assert_eq!(Some(show(&exposition)), parsed(&body).map(|(_, shown)| shown));
        }
    }
}
