"""Readers of expositions that are not ours, for the tests.

    oracle.py openmetrics|text < EXPOSITION
    oracle.py protobuf --descriptors FILE < EXPOSITION
    oracle.py FORMAT --frames         many expositions, each behind its length (4 bytes, big endian);
                                      each answer likewise

The answer is JSON: {"families": [...]} or {"error": "..."}. A family has name, type, help, unit and
samples; a sample has name, labels, value and, where there is one, exemplar. Numbers are text, so
that NaN, infinities and integers above 2^53 survive.
"""

import argparse
import json
import sys


def number(value):
    return str(value) if isinstance(value, int) else repr(value)


def reader(arguments):
    if arguments.format == "protobuf":
        import protobuf_reader

        return protobuf_reader.Reader(arguments.descriptors).read
    import text_readers

    return text_readers.READERS[arguments.format]


def answer(read, exposition):
    try:
        answer = {"families": read(exposition)}
    # The readers raise whatever their first surprise raises: KeyError, IndexError...
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    return json.dumps(answer).encode()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("format", choices=["openmetrics", "text", "protobuf"])
    parser.add_argument("--frames", action="store_true")
    parser.add_argument("--descriptors", help="a FileDescriptorSet of proto/metrics.proto")
    arguments = parser.parse_args()
    read = reader(arguments)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    if not arguments.frames:
        sink.write(answer(read, source.read()) + b"\n")
        return
    while length := source.read(4):
        reply = answer(read, source.read(int.from_bytes(length, "big")))
        sink.write(len(reply).to_bytes(4, "big") + reply)
        sink.flush()


if __name__ == "__main__":
    main()
