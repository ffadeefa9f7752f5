//! Messages, fields and wire types.

use proptest::prelude::*;

use super::*;

#[test]
fn no_families_and_families_without_metrics() {
    accept(b"", expect![[""]]);
    accept(&[0], expect![[""]]);
    accept(&[0, 0, 0], expect![[""]]);
    accept(&x(&[bytes(2, b"help"), varint(3, 1)]), expect![[""]]);
}

#[test]
fn a_length_may_be_padded() {
    let message = [bytes(1, b"x"), bytes(4, &counter_of(7.0))].concat();
    let padded = [&[message.len() as u8 | 0x80, 0x80, 0x80, 0x00], &*message].concat();
    accept(
        &padded,
        expect![[r#"
            counter x help=- unit=-
              {job="j"} 7
        "#]],
    );
}

#[test]
fn broken_lengths() {
    refuse(&[0x80], "family 0: invalid varint");
    refuse(&[0x80; 9], "family 0: invalid varint");
    refuse(&[0xff; 11], "family 0: invalid varint");
    refuse(&[5, 0x0a, 1, b'x'], "family 0: family says it has 5 bytes, but 3 are left");
    let mut huge = vec![0xff; 9];
    huge.push(1);
    refuse(&huge, "family 0: family says it has 18446744073709551615 bytes, but 0 are left");
    let second = [x_metric(MetricType::Counter, &[counter_of(1.0)]), vec![1]].concat();
    refuse(&second, "family 1: family says it has 1 bytes, but 0 are left");
}

#[test]
fn text_is_no_protobuf() {
    refuse(b"a 1\n", "family 0: family says it has 97 bytes, but 3 are left");
}

// === Fields ===

#[test]
fn unknown_fields_and_groups_are_skipped_at_every_level() {
    let unknown = [
        varint(100, u64::MAX),
        fixed64(101, 1.0),
        bytes(102, b"abc"),
        fixed32(103, 1),
        group(200, &[varint(1, 1), group(2, &[]), bytes(3, b"x")].concat()),
    ]
    .concat();
    let pair = [&*bytes(1, b"a"), &*unknown, &*bytes(2, b"b")].concat();
    let counter = [&*unknown, &*fixed64(1, 7.0), &*unknown].concat();
    let metric = [&*bytes(1, &pair), &*unknown, &*bytes(3, &counter), &*unknown].concat();
    let family = [&*unknown, &*bytes(1, b"x"), &*bytes(4, &metric), &*unknown].concat();
    accept(
        &delimited(&family),
        expect![[r#"
            counter x help=- unit=-
              {a="b",job="j"} 7
        "#]],
    );
}

#[test]
fn a_known_field_of_another_wire_type() {
    refuse(&delimited(&varint(1, 1)), "family 0: name has wire type Varint, not LengthDelimited");
    refuse(&x(&[bytes(3, b"")]), "family 0: type has wire type LengthDelimited, not Varint");
    refuse(&x(&[varint(4, 0)]), "family 0: metric has wire type Varint, not LengthDelimited");
    refuse(
        &x_metric(MetricType::Counter, &[varint(1, 0)]),
        "family 0 (\"x\"), metric 0: label has wire type Varint, not LengthDelimited",
    );
    refuse(
        &x_metric(MetricType::Counter, &[counter_of(1.0), bytes(6, b"")]),
        "family 0 (\"x\"), metric 0: timestamp_ms has wire type LengthDelimited, not Varint",
    );
    refuse(
        &x_metric(MetricType::Counter, &[bytes(1, &varint(2, 0))]),
        "family 0 (\"x\"), metric 0: label value has wire type Varint, not LengthDelimited",
    );
    refuse(
        &x_metric(MetricType::Counter, &[bytes(3, &varint(1, 7))]),
        "family 0 (\"x\"), metric 0: Counter.value: invalid wire type: Varint (expected SixtyFourBit)",
    );
    // Even if the field does not belong to the type of the family.
    refuse(
        &x_metric(MetricType::Counter, &[counter_of(1.0), bytes(2, &varint(1, 7))]),
        "family 0 (\"x\"), metric 0: Gauge.value: invalid wire type: Varint (expected SixtyFourBit)",
    );
}

#[test]
fn what_no_field_may_be() {
    for (bad, message) in [
        (vec![0x00, 0x00], "invalid tag value: 0"),
        (vec![0x0e], "invalid wire type value: 6"),
        (vec![0x0f], "invalid wire type value: 7"),
        (vec![0x83, 0x01], "invalid varint"),
        (vec![0x84, 0x01], "unexpected end group tag"),
        (group(20, &[0x8c, 0x01]), "unexpected end group tag"),
        ([0x83, 0x01].repeat(200), "recursion limit reached"),
        (vec![0xff; 11], "invalid varint"),
        (vec![0xf8, 0xff, 0xff, 0xff, 0xff, 0x01, 0x00], "invalid key value: 68719476728"),
        (vec![0xa1, 0x01, 0x00], "buffer underflow"),
        (vec![0xa2, 0x01, 0x05, 0x00], "buffer underflow"),
    ] {
        refuse(&delimited(&bad), &format!("family 0: {message}"));
        refuse(
            &x_metric(MetricType::Counter, &[counter_of(1.0), bad.clone()]),
            &format!("family 0 (\"x\"), metric 0: {message}"),
        );
        refuse(
            &x_metric(MetricType::Counter, &[bytes(1, &bad)]),
            &format!("family 0 (\"x\"), metric 0: {message}"),
        );
        refuse(
            &x_metric(MetricType::Counter, &[bytes(3, &bad)]),
            &format!("family 0 (\"x\"), metric 0: {message}"),
        );
    }
}

#[test]
fn a_scalar_twice_means_the_last_and_a_message_twice_is_merged() {
    let metric = [
        bytes(3, &fixed64(1, 1.0)),
        bytes(3, &bytes(3, &varint(1, 9))),
        bytes(3, &[fixed64(1, 2.0), fixed64(1, 3.0)].concat()),
        bytes(1, &[bytes(1, b"no"), bytes(1, b"a"), bytes(2, b"no"), bytes(2, b"b")].concat()),
    ];
    let family = [
        bytes(1, b"no"),
        varint(3, 1),
        bytes(2, b"no"),
        bytes(4, &metric.concat()),
        varint(3, 0),
        bytes(2, b"help"),
        bytes(1, b"x"),
    ];
    accept(
        &delimited(&family.concat()),
        expect![[r#"
            counter x help=help unit=-
              {a="b",job="j"} 3 created=9000
        "#]],
    );
}

#[test]
fn repeated_numbers_come_packed_or_not() {
    let head = [varint(1, 3), fixed64(2, 1.0), varint(5, 2), bytes(12, &varint(2, 2))].concat();
    let negative = bytes(9, &[varint(1, 5), varint(2, 1)].concat());
    let integers = |deltas: &[u8]| {
        let histogram = [&*head, &*negative, deltas].concat();
        x_metric(MetricType::Histogram, &[bytes(7, &histogram)])
    };
    let zigzag = |value: i64| ((value << 1) ^ (value >> 63)) as u64;
    accept_same(
        &[
            integers(&[varint(13, 2), varint(13, zigzag(-1)), varint(10, zigzag(2))].concat()),
            integers(&[bytes(13, &[2, 1]), bytes(10, &[4])].concat()),
            integers(&[varint(13, 2), bytes(13, &[1]), bytes(10, &[]), varint(10, 4)].concat()),
        ],
        expect![[r#"
            histogram x help=- unit=-
              {job="j"} count=3 sum=1 schema=1 zero[0]=0 +[0]=1 -[-3]=2
        "#]],
    );

    let head = [fixed64(4, 2.5), bytes(12, &varint(2, 2))].concat();
    let floats =
        |counts: &[u8]| x_metric(MetricType::Histogram, &[bytes(7, &[&*head, counts].concat())]);
    let packed = [1.5_f64.to_le_bytes(), 1.0_f64.to_le_bytes()].concat();
    accept_same(
        &[floats(&[fixed64(14, 1.5), fixed64(14, 1.0)].concat()), floats(&bytes(14, &packed))],
        expect![[r#"
            histogram x help=- unit=-
              {job="j"} count=2.5f sum=0 schema=0 zero[0]=0 +[0]=1.5f +[1]=1
        "#]],
    );
}

#[test]
fn negative_64_bit_integers_take_ten_bytes() {
    let created = [varint(1, -2_i64 as u64), varint(2, 500_000_000)].concat();
    assert_eq!(encoded_len_varint(-2_i64 as u64), 10);
    let counter = [fixed64(1, 1.0), bytes(3, &created)].concat();
    accept(
        &x_metric(MetricType::Counter, &[bytes(3, &counter)]),
        expect![[r#"
            counter x help=- unit=-
              {job="j"} 1 created=-1500
        "#]],
    );
}

#[test]
fn what_is_missing_is_zero() {
    let metrics = [(0, 3), (1, 2), (2, 4), (3, 5), (4, 7), (5, 7)].map(|(kind, field)| {
        let name = format!("x{kind}");
        delimited(
            &[bytes(1, name.as_bytes()), varint(3, kind), bytes(4, &bytes(field, b""))].concat(),
        )
    });
    accept(
        &metrics.concat(),
        expect![[r#"
            counter x0 help=- unit=-
              {job="j"} 0
            gauge x1 help=- unit=-
              {job="j"} 0
            summary x2 help=- unit=-
              {job="j"} count=0 sum=0
            untyped x3 help=- unit=-
              {job="j"} 0
            histogram x4 help=- unit=-
              {job="j"} count=0 sum=0
            gaugehistogram x5 help=- unit=-
              {job="j"} count=0 sum=0
        "#]],
    );
}

#[test]
fn an_absent_type_is_counter_and_an_unknown_one_is_refused() {
    accept(
        &x(&[bytes(4, &counter_of(7.0))]),
        expect![[r#"
            counter x help=- unit=-
              {job="j"} 7
        "#]],
    );
    refuse(&x(&[varint(3, 6), bytes(4, &counter_of(7.0))]), "family 0: type 6 is not known");
    refuse(&x(&[varint(3, u64::MAX)]), "family 0: type -1 is not known");
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&body, Timestamps::Reject);
        let _ = read(&delimited(&body), Timestamps::Ignore);
        let _ = read(&x_metric(MetricType::Histogram, &[bytes(7, &body)]), Timestamps::Reject);
        let _ = read(&x_metric(MetricType::Summary, &[bytes(4, &body)]), Timestamps::Reject);
        let _ = read(&x_metric(MetricType::Counter, &[bytes(3, &body)]), Timestamps::Reject);
    }

    /// Nearly valid bodies get further than random bytes.
    #[test]
    fn damaged_bodies_are_read_or_refused(at in 0_usize..400, byte in any::<u8>(), cut in 0_usize..400) {
        let native = histogram(wire::Histogram {
            sample_count: Some(9),
            sample_sum: Some(1.0),
            bucket: vec![bucket(0.5, 1), bucket(2.0, 9)],
            schema: Some(3),
            zero_threshold: Some(1e-128),
            zero_count: Some(1),
            positive_span: vec![wire::BucketSpan { offset: Some(-2), length: Some(3) }],
            positive_delta: vec![1, 1, 2],
            negative_span: vec![wire::BucketSpan { offset: Some(2), length: Some(1) }],
            negative_delta: vec![1],
            ..wire::Histogram::default()
        });
        let mut body = [native, body(&[family("x", MetricType::Counter, vec![counter(&[("a", "b")], 1.0)])])].concat();
        if let Some(place) = body.get_mut(at) {
            *place = byte;
        }
        body.truncate(body.len().saturating_sub(cut.saturating_sub(200)));
        let _ = read(&body, Timestamps::Reject);
    }
}
