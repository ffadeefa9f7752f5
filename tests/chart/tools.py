"""What all tests of the chart share: where things are, counting of checks, rendering."""

import contextlib
import functools
import os
import pathlib
import subprocess
import sys
import traceback

import helm_python
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "helm/tallygate"
HERE = ROOT / "tests/chart"
WORK = ROOT / "target/chart"
NODE_MODULES = WORK / "npm/node_modules"
RELEASE, NAMESPACE = "demo", "prod"

# The oldest version that Chart.yaml takes, and the newest that the schemas know.
OLDEST, NEWEST = "1.25", "1.37"


class Counts:
    passed = failed = skipped = 0


class Skip(Exception):
    """Raised by a check that cannot be done here."""


@contextlib.contextmanager
def check(name):
    """One check. It fails if its block raises."""
    try:
        yield
    except Skip as reason:
        Counts.skipped += 1
        print(f"skip {name}: {reason}", flush=True)
    except AssertionError as error:
        Counts.failed += 1
        print(f"FAIL {name}: {error}", flush=True)
    except Exception:
        Counts.failed += 1
        print(f"FAIL {name}:\n{traceback.format_exc()}", flush=True)
    else:
        Counts.passed += 1
        print(f"ok {name}", flush=True)


def run(*command, **options):
    """Runs a command; it fails the check with what was printed if it does not end well."""
    options = {"cwd": ROOT, "text": True, "timeout": 300} | options
    ended = subprocess.run(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options
    )
    assert ended.returncode == 0, f"{command[0]} ended with {ended.returncode}:\n{ended.stdout[-4000:]}"
    return ended.stdout


def tool(name):
    """A program of the virtual environment."""
    return pathlib.Path(sys.executable).parent / name


@functools.cache
def gateway():
    """The server. What `cargo test` has built is good enough; otherwise it is built now."""
    binary = os.environ.get("TALLYGATE_BINARY")
    if binary:
        return pathlib.Path(binary)
    run("cargo", "build", "--quiet", "--locked", "--bin", "tallygate", timeout=1200)
    return ROOT / "target/debug/tallygate"


@functools.cache
def chart():
    return helm_python.Chart.load(str(CHART))


def render(values=None):
    """Template name -> text, as `helm template` makes it."""
    return chart().render(values or {}, name=RELEASE, namespace=NAMESPACE)


def objects(values=None):
    """All objects of a render."""
    found = []
    for name, text in sorted(render(values).items()):
        if not name.endswith(".txt"):
            found += [document for document in yaml.safe_load_all(text) if document]
    return found


def refused(values):
    """Why a render with these values is refused, or None."""
    try:
        chart().validate_schema(values)
        render(values)
    except helm_python.HelmError as error:
        return str(error)
    return None


def ci_files():
    """Name -> (values, the oldest Kubernetes it is for)."""
    files = {}
    for file in sorted((CHART / "ci").glob("*-values.yaml")):
        text = file.read_text()
        first = text.splitlines()[0]
        oldest = first.split(":")[1].strip() if first.startswith("# Kubernetes:") else OLDEST
        files[file.name.removesuffix("-values.yaml")] = (yaml.safe_load(text) or {}, oldest)
    assert len(files) > 15, "files of values are missing"
    return files


def only(found, kind, name=None):
    """The object of a kind."""
    of_kind = [o for o in found if o["kind"] == kind and name in (None, o["metadata"]["name"])]
    assert len(of_kind) == 1, f"{len(of_kind)} objects of kind {kind}"
    return of_kind[0]
