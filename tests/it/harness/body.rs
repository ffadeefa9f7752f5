//! Bodies: protobuf written by hand, so that our code is not tested with itself, and content codings.

use std::io::{Read, Write};

// === protobuf ===

/// A protobuf message under construction.
#[derive(Clone, Default)]
pub(crate) struct Message(Vec<u8>);

pub(crate) fn message() -> Message {
    Message::default()
}

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, field: u32, wire_type: u32) {
        self.varint((field << 3 | wire_type).into());
    }

    pub(crate) fn int(mut self, field: u32, value: u64) -> Message {
        self.key(field, 0);
        self.varint(value);
        self
    }

    /// A zigzag integer.
    pub(crate) fn sint(self, field: u32, value: i64) -> Message {
        self.int(field, (value << 1 ^ value >> 63) as u64)
    }

    pub(crate) fn double(mut self, field: u32, value: f64) -> Message {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(crate) fn text(mut self, field: u32, text: &str) -> Message {
        self.key(field, 2);
        self.varint(text.len() as u64);
        self.0.extend(text.as_bytes());
        self
    }

    pub(crate) fn message(mut self, field: u32, inner: Message) -> Message {
        self.key(field, 2);
        self.varint(inner.0.len() as u64);
        self.0.extend(inner.0);
        self
    }

    /// A `MetricFamily` with this name and type.
    pub(crate) fn family(name: &str, kind: u64) -> Message {
        message().text(1, name).int(3, kind)
    }

    /// Adds a metric; `value` is the number and content of its value field.
    pub(crate) fn metric(self, labels: &[(&str, &str)], value: (u32, Message)) -> Message {
        let mut metric = message();
        for (name, text) in labels {
            metric = metric.message(1, message().text(1, name).text(2, text));
        }
        self.message(4, metric.message(value.0, value.1))
    }

    /// The message as a body, after its length.
    pub(crate) fn delimited(self) -> Vec<u8> {
        let mut body = Message::default();
        body.varint(self.0.len() as u64);
        body.0.extend(self.0);
        body.0
    }
}

/// Values of a metric, each with the number of its field.
pub(crate) mod value {
    use super::{Message, message};

    pub(crate) fn gauge(value: f64) -> (u32, Message) {
        (2, message().double(1, value))
    }

    pub(crate) fn counter(value: f64) -> (u32, Message) {
        (3, message().double(1, value))
    }

    pub(crate) fn untyped(value: f64) -> (u32, Message) {
        (5, message().double(1, value))
    }

    /// A classic histogram, from upper bounds and cumulative counts.
    pub(crate) fn histogram(count: u64, sum: f64, buckets: &[(f64, u64)]) -> (u32, Message) {
        let mut histogram = message().int(1, count).double(2, sum);
        for (bound, cumulative) in buckets {
            histogram = histogram.message(3, message().int(1, *cumulative).double(2, *bound));
        }
        (7, histogram)
    }
}

// === text ===

/// The lines of a classic histogram, without TYPE, from cumulative counts by `le`; the last one is
/// `+Inf`.
pub(crate) fn histogram(name: &str, sum: f64, buckets: &[(&str, u64)]) -> String {
    let lines = buckets.iter().map(|(le, count)| format!("{name}_bucket{{le=\"{le}\"}} {count}\n"));
    let count = buckets.last().map_or(0, |(_, count)| *count);
    let lines: String = lines.collect();
    format!("# TYPE {name} histogram\n{lines}{name}_sum {sum}\n{name}_count {count}\n")
}

// === content codings ===

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Zstd,
    SnappyFramed,
    SnappyBlock,
    Deflate,
}

impl Coding {
    pub(crate) const ALL: [Coding; 5] =
        [Coding::Gzip, Coding::Zstd, Coding::SnappyFramed, Coding::SnappyBlock, Coding::Deflate];

    /// The name in a header.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Zstd => "zstd",
            Coding::SnappyFramed | Coding::SnappyBlock => "snappy",
            Coding::Deflate => "deflate",
        }
    }
}

pub(crate) fn encoded(coding: Coding, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    match coding {
        Coding::Gzip => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(body).unwrap();
            encoder.finish().unwrap()
        }
        Coding::Zstd => zstd::bulk::compress(body, 1).unwrap(),
        Coding::SnappyFramed => {
            let mut encoder = snap::write::FrameEncoder::new(Vec::new());
            encoder.write_all(body).unwrap();
            encoder.into_inner().unwrap()
        }
        Coding::SnappyBlock => snap::raw::Encoder::new().compress_vec(body).unwrap(),
        Coding::Deflate => {
            let fast = flate2::Compression::fast();
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), fast);
            encoder.write_all(body).unwrap();
            encoder.finish().unwrap()
        }
    }
}

/// The text of a scrape with this Content-Encoding.
#[track_caller]
pub(crate) fn decoded(coding: Option<&str>, body: &[u8]) -> String {
    let mut text = String::new();
    match coding {
        None => text.push_str(std::str::from_utf8(body).unwrap()),
        Some("gzip") => {
            _ = flate2::read::MultiGzDecoder::new(body).read_to_string(&mut text).unwrap();
        }
        Some("zstd") => text = String::from_utf8(zstd::decode_all(body).unwrap()).unwrap(),
        Some(other) => panic!("nobody asked for {other}"),
    }
    text
}
