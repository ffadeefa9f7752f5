"""Pushes to a gateway while it is told to stop, as pods of a cluster would, and tells what became of the pushes.

    load.py URL READY_URL      prints "ACKNOWLEDGED BROKEN"

The readiness probe is asked as a kubelet does. When it fails, pushes still come in for REMOVAL_S, since the other nodes
of a cluster learn with a delay that a pod has left the Service; then nobody connects any more.

Acknowledged are pushes that were answered with 200. Broken are those that got another answer, or whose connection broke
after they had been sent: a client would have to guess about them.
"""

import http.client
import sys
import threading
import time
import urllib.parse
import urllib.request

THREADS = 4
REMOVAL_S = 2
SECONDS_MAX = 60
BODY = b'# TYPE load_test_total counter\nload_test_total{kind="a"} 1\n'

acknowledged, broken = [], []
removed = threading.Event()


def load(url):
    connection = None
    while not removed.is_set():
        try:
            if connection is None:
                connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
                connection.connect()
            connection.request("POST", "/metrics/job/load", BODY)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            broken.append(repr(error))
            connection = None
            continue
        (acknowledged if answer.status == 200 else broken).append(answer.status)
        if answer.will_close:
            connection.close()
            connection = None


def probe(url):
    until = time.monotonic() + SECONDS_MAX
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(url, timeout=3).close()
        except OSError:
            break
        time.sleep(0.2)
    time.sleep(REMOVAL_S)
    removed.set()


def main(url, ready_url):
    threads = [threading.Thread(target=load, args=[urllib.parse.urlsplit(url)]) for _ in range(THREADS)]
    threads.append(threading.Thread(target=probe, args=[ready_url]))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(len(acknowledged), len(broken))
    if broken:
        print(*broken[:5], file=sys.stderr)


main(*sys.argv[1:])
