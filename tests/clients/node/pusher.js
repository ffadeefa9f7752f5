// Pushes with prom-client: pusher.js BASE_URL SCENARIO WORKER_ID PUSHES (see ../curl.sh).
'use strict';

const { Counter, Gauge, Histogram, Pushgateway, Registry, Summary } = require('prom-client');

const jobName = 'node_batch';

function items(registry) {
    const counter = new Counter({ name: 'e2e_items_total', help: 'Items.', labelNames: ['kind'], registers: [registry] });
    counter.inc({ kind: 'a' });
    counter.inc({ kind: 'b' }, 2.5);
}

const fill = {
    counter: items,
    put: items,
    gzip: items,
    openmetrics: items,
    histogram(registry) {
        const buckets = [0.1, 0.5, 1];
        const histogram = new Histogram({ name: 'e2e_latency_seconds', help: 'Latency.', buckets, registers: [registry] });
        for (const seconds of [0.05, 0.3, 0.7, 2.0]) histogram.observe(seconds);
    },
    summary(registry) {
        const summary = new Summary({ name: 'e2e_size_bytes', help: 'Size.', registers: [registry] });
        summary.observe(100);
        summary.observe(250);
    },
    gauge(registry, worker, i) {
        new Gauge({ name: 'e2e_last_value', help: 'Last value.', registers: [registry] }).set(worker * 1000 + i);
    },
    grouping(registry) {
        new Counter({ name: 'e2e_grouped_total', help: 'Grouped.', registers: [registry] }).inc();
    },
    delete() {},
};

async function push(base, scenario, worker, i) {
    // A push holds what happened since the last one, nothing older.
    const registry = scenario === 'openmetrics' ? new Registry(Registry.OPENMETRICS_CONTENT_TYPE) : new Registry();
    fill[scenario](registry, worker, i);
    const headers = scenario === 'gzip' ? { 'Content-Encoding': 'gzip' } : {};
    const gateway = new Pushgateway(base, { timeout: 10000, headers }, registry);
    // The empty value comes last: prom-client then sends a trailing slash for it.
    const groupings = scenario === 'grouping' ? { path: '/a/b c', empty: '' } : {};
    const send = { put: 'push', delete: 'delete' }[scenario] ?? 'pushAdd';
    const { resp } = await gateway[send]({ jobName, groupings });
    // prom-client takes a redirect for a success, and the push is lost.
    if (resp.statusCode >= 300) throw new Error(`status ${resp.statusCode}`);
}

async function main([base, scenario, worker, pushes]) {
    if (!Object.hasOwn(fill, scenario)) {
        console.log('unsupported');
        return 3;
    }
    for (let i = 0; i < Number(pushes); i++) {
        try {
            await push(base, scenario, Number(worker), i);
        } catch (error) {
            console.error(`node ${scenario}: push ${i}: ${error.message}`);
            return 1;
        }
    }
    return 0;
}

main(process.argv.slice(2)).then((code) => {
    process.exitCode = code;
});
