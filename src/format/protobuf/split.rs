//! Takes a stream of families apart and groups its metrics in another way, without decoding them: for
//! callers that know better which of them belong together.

use std::collections::BTreeMap;

use prost::encoding::{WireType, encode_key, encode_varint};

use super::fields::Fields;
use super::{Fault, read_head, read_label, type_of};
use crate::format::ParseError;
use crate::model::FamilyHead;

/// One metric of a stream, not decoded.
#[derive(Clone, Debug)]
pub struct RawMetric<'b> {
    /// The name of its family.
    pub family: &'b str,
    pub unit: &'b str,
    pub labels: BTreeMap<String, String>,
    message: &'b [u8],
}

/// All metrics of a stream, in its order.
///
/// # Errors
/// If it is not a stream of families. Only the labels of the metrics are checked.
pub fn split(stream: &[u8]) -> Result<Vec<RawMetric<'_>>, ParseError> {
    let mut metrics = Vec::new();
    let mut rest = Fields::new(stream);
    let mut at = 0;
    while !rest.is_empty() {
        let family = rest.delimited("family").map_err(Fault::from);
        let read = family.and_then(|message| split_family(message, &mut metrics));
        read.map_err(|fault| fault.of_family(at))?;
        at += 1;
    }
    Ok(metrics)
}

fn split_family<'b>(message: &'b [u8], metrics: &mut Vec<RawMetric<'b>>) -> Result<(), Fault> {
    let head = read_head(message)?;
    let mut fields = Fields::new(message);
    while let Some(key) = fields.next()? {
        if key.number != 4 {
            fields.skip(key)?;
            continue;
        }
        let message = fields.bytes(key, "metric")?;
        let labels = labels_of(message).map_err(|fault| fault.named(head.name))?;
        metrics.push(RawMetric { family: head.name, unit: head.unit, labels, message });
    }
    Ok(())
}

fn labels_of(metric: &[u8]) -> Result<BTreeMap<String, String>, Fault> {
    let mut labels = BTreeMap::new();
    let mut fields = Fields::new(metric);
    while let Some(key) = fields.next()? {
        if key.number == 1 {
            let label = read_label(fields.bytes(key, "label")?)?;
            labels.insert(label.name.into_owned(), label.value.into_owned());
        } else {
            fields.skip(key)?;
        }
    }
    Ok(labels)
}

/// A family of these metrics, as a message without its length.
pub fn join<'b>(
    head: FamilyHead<'_>,
    metrics: impl IntoIterator<Item = &'b RawMetric<'b>>,
) -> Vec<u8> {
    let mut message = Vec::new();
    let mut field = |number, bytes: &[u8]| {
        encode_key(number, WireType::LengthDelimited, &mut message);
        encode_varint(bytes.len() as u64, &mut message);
        message.extend_from_slice(bytes);
    };
    field(1, head.name.as_bytes());
    field(2, head.help.as_bytes());
    field(5, head.unit.as_bytes());
    metrics.into_iter().for_each(|metric| field(4, metric.message));
    encode_key(3, WireType::Varint, &mut message);
    encode_varint(type_of(head.kind) as u64, &mut message);
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::protobuf::delimited;
    use crate::model::Kind;

    const GAUGES: FamilyHead<'_> =
        FamilyHead { name: "x", kind: Kind::Gauge, help: "Help.", unit: "s" };

    /// A gauge of 1 with the labels a and b.
    const METRIC: &[u8] = b"\x0a\x06\x0a\x01b\x12\x011\x0a\x06\x0a\x01a\x12\x012\
        \x12\x09\x09\0\0\0\0\0\0\xf0\x3f";

    #[test]
    fn what_is_taken_apart_can_be_put_together() {
        let labels = [("a", "2"), ("b", "1")].map(|(n, v)| (n.to_owned(), v.to_owned())).into();
        let one = RawMetric { family: "x", unit: "s", labels, message: METRIC };
        let stream = delimited(&join(GAUGES, [&one, &one]));
        let stream = [stream.clone(), stream].concat();
        let metrics = split(&stream).expect("a stream");
        assert_eq!(metrics.len(), 4);
        for metric in &metrics {
            assert_eq!((metric.family, metric.unit, metric.message), ("x", "s", METRIC));
            assert_eq!(metric.labels, one.labels);
        }
        assert_eq!(delimited(&join(GAUGES, &metrics[..2])), stream[..stream.len() / 2]);
    }

    #[test]
    fn what_is_no_stream_is_refused() {
        let cut = delimited(&join(GAUGES, []));
        for stream in
            [&b"x 1\n"[..], &cut[..cut.len() - 1], b"\x02\x22\x01", b"\x04\x22\x02\x0a\x01"]
        {
            assert!(split(stream).is_err(), "{stream:?}");
        }
        assert!(split(b"").is_ok_and(|metrics| metrics.is_empty()));
    }
}
