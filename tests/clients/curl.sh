#!/usr/bin/env bash
# Pushes as a shell script would: curl.sh BASE_URL SCENARIO WORKER_ID PUSHES
#
# All pushers here have this command line. Each sends PUSHES pushes to BASE_URL, one after the other, every one with
# fresh numbers (never a running total), under the job CLIENT_batch. Exit status: 0 if every push was acknowledged,
# 1 with the reason on stderr if one was not, 3 and "unsupported" on stdout if the client cannot do the scenario.
#
#   counter      e2e_items_total{kind="a"} 1, {kind="b"} 2.5
#   histogram    e2e_latency_seconds: 0.05, 0.3, 0.7 and 2.0 in the buckets 0.1, 0.5, 1
#   summary      e2e_size_bytes: 100 and 250, with quantiles where the client sends them
#   gauge        e2e_last_value: WORKER_ID * 1000 + number of the push, from 0
#   grouping     e2e_grouped_total 1 under job, path="/a/b c" and empty=""
#   put          the counters, with the client's PUT
#   gzip, snappy the counters, compressed (snappy in its framed form)
#   text, protobuf, openmetrics
#                the counters, in that format
#   created      counters and histogram with the client's _created samples
#   delete       the client's DELETE for the job alone
#   global       what grew over PUSHES rounds, in one push as a running total (rust-metrics only)
set -euo pipefail

base=$1 scenario=$2 worker=$3 pushes=$4
url=$base/metrics/job/curl_batch

items='# TYPE e2e_items_total counter
# HELP e2e_items_total Items.
e2e_items_total{kind="a"} 1
e2e_items_total{kind="b"} 2.5'

# Without -f an error would look like a success, and even with it a redirect does.
send() {
    local status
    status=$(curl -sS --max-time 10 -o /dev/null -w '%{http_code}' "$@") && [ "${status:0:1}" = 2 ] || {
        echo "curl $scenario: push $i: status $status" >&2
        exit 1
    }
}

for ((i = 0; i < pushes; i++)); do
    case $scenario in
    counter) # curl names the type of a form here, as it does for every script that leaves it to curl
        send --data-binary @- "$url" <<<"$items"
        ;;
    histogram)
        send --data-binary @- "$url" <<'METRICS'
# TYPE e2e_latency_seconds histogram
e2e_latency_seconds_bucket{le="0.1"} 1
e2e_latency_seconds_bucket{le="0.5"} 2
e2e_latency_seconds_bucket{le="1"} 3
e2e_latency_seconds_bucket{le="+Inf"} 4
e2e_latency_seconds_sum 3.05
e2e_latency_seconds_count 4
METRICS
        ;;
    summary)
        send --data-binary @- "$url" <<'METRICS'
# TYPE e2e_size_bytes summary
e2e_size_bytes{quantile="0.5"} 100
e2e_size_bytes{quantile="0.99"} 250
e2e_size_bytes_sum 350
e2e_size_bytes_count 2
METRICS
        ;;
    gauge)
        send --data-binary @- "$url" <<<"# TYPE e2e_last_value gauge
e2e_last_value $((worker * 1000 + i))"
        ;;
    grouping)
        send --data-binary @- "$url/path@base64/L2EvYiBj/empty@base64/=" <<<'# TYPE e2e_grouped_total counter
e2e_grouped_total 1'
        ;;
    put) # chunked, with "Expect: 100-continue" and no content type
        send -T - "$url" <<<"$items"
        ;;
    gzip)
        send -H 'Content-Type: text/plain' -H 'Content-Encoding: gzip' --data-binary @- "$url" < <(gzip <<<"$items")
        ;;
    text)
        send -H 'Content-Type: text/plain; version=0.0.4' --data-binary @- "$url" <<<"$items"
        ;;
    openmetrics)
        send -H 'Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8' --data-binary @- "$url" <<'METRICS'
# TYPE e2e_items counter
# HELP e2e_items Items.
e2e_items_total{kind="a"} 1
e2e_items_total{kind="b"} 2.5
# EOF
METRICS
        ;;
    delete)
        send -X DELETE "$url"
        ;;
    *)
        echo unsupported
        exit 3
        ;;
    esac
done
