"""Pushes with the Python prometheus_client: pusher.py BASE_URL SCENARIO WORKER_ID PUSHES (see ../curl.sh)."""

import sys

from prometheus_client import (CollectorRegistry, Counter, Gauge, Histogram, Summary, delete_from_gateway,
                               disable_created_metrics, push_to_gateway, pushadd_to_gateway)

JOB = 'python_batch'
PATH = '/a/b c'


def items(registry):
    counter = Counter('e2e_items_total', 'Items.', ['kind'], registry=registry)
    counter.labels('a').inc()
    counter.labels('b').inc(2.5)


def latency(registry):
    histogram = Histogram('e2e_latency_seconds', 'Latency.', buckets=(0.1, 0.5, 1), registry=registry)
    for seconds in (0.05, 0.3, 0.7, 2.0):
        histogram.observe(seconds)


def push(base, scenario, worker, i):
    registry = CollectorRegistry()  # a push holds what happened since the last one, nothing older
    options = {}
    if scenario in ('counter', 'put', 'gzip', 'snappy'):
        items(registry)
        if scenario in ('gzip', 'snappy'):
            options['compression'] = scenario
    elif scenario == 'histogram':
        latency(registry)
    elif scenario == 'created':
        items(registry)
        latency(registry)
    elif scenario == 'summary':
        summary = Summary('e2e_size_bytes', 'Size.', registry=registry)
        summary.observe(100)
        summary.observe(250)
    elif scenario == 'gauge':
        Gauge('e2e_last_value', 'Last value.', registry=registry).set(worker * 1000 + i)
    elif scenario == 'grouping':
        Counter('e2e_grouped_total', 'Grouped.', registry=registry).inc()
        options['grouping_key'] = {'path': PATH, 'empty': ''}
    send = push_to_gateway if scenario == 'put' else pushadd_to_gateway
    send(base, job=JOB, registry=registry, **options)


def main():
    base, scenario, worker, pushes = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    if scenario not in ('counter', 'histogram', 'summary', 'gauge', 'grouping', 'put', 'gzip', 'snappy', 'created',
                        'delete'):
        print('unsupported')
        return 3
    if scenario != 'created':
        disable_created_metrics()
    for i in range(pushes):
        try:
            if scenario == 'delete':
                delete_from_gateway(base, job=JOB)
            else:
                push(base, scenario, worker, i)
        except OSError as error:
            print(f'python {scenario}: push {i}: {error}', file=sys.stderr)
            return 1
    return 0


sys.exit(main())
