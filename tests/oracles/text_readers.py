"""Both text formats, by prometheus_client: the reference reader of OpenMetrics, and that of 0.0.4."""

from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from oracle import number


def exemplar(found):
    answer = {"labels": found.labels, "value": number(found.value)}
    if found.timestamp is not None:
        answer["timestamp"] = number(float(found.timestamp))
    return answer


def sample(found):
    answer = {"name": found.name, "labels": found.labels, "value": number(found.value)}
    if found.timestamp is not None:
        answer["timestamp"] = number(float(found.timestamp))
    if found.exemplar is not None:
        answer["exemplar"] = exemplar(found.exemplar)
    return answer


def families(found):
    return [
        {
            "name": family.name,
            "type": family.type,
            "help": family.documentation,
            "unit": family.unit,
            "samples": [sample(each) for each in family.samples],
        }
        for family in found
    ]


READERS = {
    "openmetrics": lambda exposition: families(
        openmetrics_parser.text_string_to_metric_families(exposition.decode())
    ),
    "text": lambda exposition: families(
        parser.text_string_to_metric_families(exposition.decode())
    ),
}
