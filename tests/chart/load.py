"""Pushes over kept connections until nobody listens any more, and tells what became of the pushes.

    load.py URL SECONDS      prints "ACKNOWLEDGED BROKEN"

Acknowledged are those answered with 200. Broken are those whose connection broke after they had been sent, or that got
another answer: what a client would have to guess about. A refused connection, or one that was closed before a push was
sent, is neither.
"""

import http.client
import sys
import threading
import time
import urllib.parse

THREADS = 4
BODY = b'# TYPE load_test_total counter\nload_test_total{kind="a"} 1\n'


def load(url, until, counts, lock):
    acknowledged = broken = 0
    connection = None
    seen = False
    while time.monotonic() < until:
        if connection is None:
            connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
            try:
                connection.connect()
            except ConnectionRefusedError:
                if seen:
                    break
                connection = None
                time.sleep(0.05)
                continue
        seen = True
        try:
            connection.request("POST", "/metrics/job/load", BODY)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            broken += 1
            connection = None
            continue
        if answer.status == 200:
            acknowledged += 1
        else:
            broken += 1
        if answer.will_close:
            connection.close()
            connection = None
    with lock:
        counts[0] += acknowledged
        counts[1] += broken


def main(url, seconds):
    counts, lock = [0, 0], threading.Lock()
    arguments = urllib.parse.urlsplit(url), time.monotonic() + float(seconds), counts, lock
    threads = [threading.Thread(target=load, args=arguments) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(*counts)


main(*sys.argv[1:])
