"""Delimited protobuf, by Google's Python runtime. Histograms and summaries are taken apart into the
samples they have in text; what text cannot say stands in a sample of its own, as "native"."""

import io

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, proto
from google.protobuf.unknown_fields import UnknownFieldSet

from oracle import number

VALUES = ("gauge", "counter", "summary", "untyped", "histogram")


class Reader:
    def __init__(self, descriptors):
        with open(descriptors, "rb") as file:
            files = descriptor_pb2.FileDescriptorSet.FromString(file.read()).file
        pool = descriptor_pool.DescriptorPool()
        for file in files:
            pool.Add(file)
        family = pool.FindMessageTypeByName("io.prometheus.client.MetricFamily")
        self.family = message_factory.GetMessageClass(family)
        self.types = family.fields_by_name["type"].enum_type.values_by_number

    def read(self, exposition):
        source, families = io.BytesIO(exposition), []
        while (message := proto.parse_length_prefixed(self.family, source)) is not None:
            if has_unknown(message):
                raise ValueError(f"unknown fields in {message.name}")
            families.append(
                {
                    "name": message.name,
                    "type": self.types[message.type].name.lower(),
                    "help": message.help,
                    "unit": message.unit,
                    "samples": [
                        sample
                        for metric in message.metric
                        for sample in samples(message.name, metric)
                    ],
                }
            )
        return families


def has_unknown(message):
    parts = []
    for field, value in message.ListFields():
        if field.message_type:
            parts.extend(value if field.is_repeated else [value])
    return len(UnknownFieldSet(message)) > 0 or any(map(has_unknown, parts))


def samples(name, metric):
    labels = {}
    for label in metric.label:
        if label.name in labels:
            raise ValueError(f"label {label.name} twice")
        labels[label.name] = label.value

    def sample(suffix, value, extra=(), **more):
        answer = {"name": name + suffix, "labels": {**labels, **dict(extra)}}
        if value is not None:
            answer["value"] = number(value)
        answer.update({key: value for key, value in more.items() if value is not None})
        return answer

    def created(of):
        if of.HasField("created_timestamp"):
            yield sample("_created", seconds(of.created_timestamp))

    if metric.HasField("timestamp_ms"):
        raise ValueError(f"{name}: a sample has a timestamp")
    kinds = [kind for kind in VALUES if metric.HasField(kind)]
    if len(kinds) != 1:
        raise ValueError(f"{name}: values {kinds}")
    value = getattr(metric, kinds[0])
    if kinds[0] in ("gauge", "untyped"):
        yield sample("", value.value)
    elif kinds[0] == "counter":
        yield sample("", value.value, exemplar=exemplar_of(value))
        yield from created(value)
    elif kinds[0] == "summary":
        for quantile in value.quantile:
            yield sample("", quantile.value, [("quantile", number(quantile.quantile))])
        if value.HasField("sample_sum"):
            yield sample("_sum", value.sample_sum)
        yield sample("_count", value.sample_count)
        yield from created(value)
    else:
        is_float = value.sample_count_float > 0 or value.zero_count_float > 0
        for bucket in value.bucket:
            count = bucket.cumulative_count_float if is_float else bucket.cumulative_count
            le = [("le", number(bucket.upper_bound))]
            yield sample("_bucket", count, le, exemplar=exemplar_of(bucket))
        if value.HasField("sample_sum"):
            yield sample("_sum", value.sample_sum)
        yield sample("_count", value.sample_count_float if is_float else value.sample_count)
        if native := native_of(value, is_float):
            yield sample("", None, native=native)
        yield from created(value)


def native_of(histogram, is_float):
    """By the rule of Prometheus: any span, a zero threshold or a zero count."""
    spans = len(histogram.positive_span) + len(histogram.negative_span)
    if spans == 0 and histogram.zero_threshold == 0 and histogram.zero_count == 0:
        return None

    def side(spans, deltas, counts):
        index, count, buckets = 0, 0, []
        values = iter(counts if is_float else deltas)
        if deltas if is_float else counts:
            raise ValueError("lists of the other flavour")
        for span in spans:
            index += span.offset
            for _ in range(span.length):
                value = next(values)
                count = value if is_float else count + value
                buckets.append([index, number(count)])
                index += 1
        if list(values):
            raise ValueError("more buckets than the spans hold")
        return buckets

    it = histogram
    return {
        "schema": it.schema,
        "zero_threshold": number(it.zero_threshold),
        "zero_count": number(it.zero_count_float if is_float else it.zero_count),
        "negative": side(it.negative_span, it.negative_delta, it.negative_count),
        "positive": side(it.positive_span, it.positive_delta, it.positive_count),
        "exemplars": [exemplar(each) for each in it.exemplars],
    }


def exemplar_of(message):
    return exemplar(message.exemplar) if message.HasField("exemplar") else None


def exemplar(found):
    labels = {label.name: label.value for label in found.label}
    answer = {"labels": labels, "value": number(found.value)}
    if found.HasField("timestamp"):
        answer["timestamp"] = number(seconds(found.timestamp))
    return answer


def seconds(timestamp):
    return timestamp.seconds + timestamp.nanos / 1e9
