"""Runs the unit suites in helm/tallygate/tests, which are in the format of the plugin helm-unittest.

Those who have the plugin can run them with it; this is the part of it that the suites use, over the same Helm engine as
the other tests. A suite that asks for anything else fails, so that nothing is passed over in silence.
"""

import re

import yaml

from tools import CHART, check, chart
import helm_python

SUITE_KEYS = {"suite", "templates", "set", "release", "tests"}
TEST_KEYS = {"it", "template", "documentIndex", "documentSelector", "set", "values", "release", "asserts"}


def run_all():
    files = sorted((CHART / "tests").glob("*_test.yaml"))
    assert files, "no suites"
    for file in files:
        suite = yaml.safe_load(file.read_text())
        for test in suite["tests"]:
            with check(f"{suite['suite']}: {test['it']}"):
                known(suite, SUITE_KEYS)
                known(test, TEST_KEYS)
                run_test(file, suite, test)
    with check("suites: an assertion that is wrong fails"):
        the_runner_can_fail()


def known(mapping, keys):
    assert set(mapping) <= keys, f"not supported here: {set(mapping) - keys}"


def run_test(file, suite, test):
    assert test["asserts"], "a test without assertions"
    values = {}
    for more in test.get("values", []):
        values = merged(values, yaml.safe_load((file.parent / more).read_text()) or {})
    for path, value in (suite.get("set", {}) | test.get("set", {})).items():
        put(values, path, value)
    release = suite.get("release", {}) | test.get("release", {})
    try:
        # A render alone does not look at the schema, as the plugin and an install do.
        chart().validate_schema(values)
        rendered = chart().render(
            values, name=release.get("name", "RELEASE-NAME"), namespace=release.get("namespace", "NAMESPACE"),
            revision=release.get("revision"), is_upgrade=release.get("upgrade"),
        )
        failure = None
    except helm_python.HelmError as error:
        rendered, failure = {}, str(error)
    for assertion in test["asserts"]:
        run_assertion(suite, test, dict(assertion), rendered, failure)


def run_assertion(suite, test, assertion, rendered, failure):
    template = assertion.pop("template", None) or test.get("template")
    index = assertion.pop("documentIndex", test.get("documentIndex"))
    selector = assertion.pop("documentSelector", test.get("documentSelector"))
    (kind, wanted), = assertion.items()
    wanted = wanted or {}
    if kind == "failedTemplate":
        assert failure, "it did not fail"
        assert "errorMessage" not in wanted or wanted["errorMessage"] in failure, failure
        assert "errorPattern" not in wanted or re.search(wanted["errorPattern"], failure), failure
        return
    assert not failure, failure
    documents = []
    for name in [template] if template else suite["templates"]:
        text = rendered.get(f"{chart().name}/templates/{name}", "")
        documents += [text] if name.endswith(".txt") else [d for d in yaml.safe_load_all(text) if d]
    if selector is not None:
        documents = [d for d in documents if list(found(d, selector["path"])) == [selector["value"]]]
        assert documents, f"no document with {selector}"
    if index is not None:
        documents = [documents[index]]
    if kind == "hasDocuments":
        assert len(documents) == wanted["count"], f"{len(documents)} documents"
        return
    assert documents, f"nothing was rendered by {template or suite['templates']}"
    negated = kind.startswith("not") or kind == "isNotSubset"
    for document in documents:
        holds, seen = holds_for(document, kind, wanted)
        assert holds != negated, f"{kind} {wanted}: {seen!r}"


def holds_for(document, kind, wanted):
    """Whether an assertion without its `not` holds, and what it looked at."""
    kind = {"isNotSubset": "isSubset", "notExists": "exists"}.get(kind, kind)
    kind = kind[3].lower() + kind[4:] if kind.startswith("not") else kind
    if kind == "isKind":
        return document["kind"] == wanted["of"], document["kind"]
    if kind == "isAPIVersion":
        return document["apiVersion"] == wanted["of"], document["apiVersion"]
    if kind == "matchRegexRaw":
        return re.search(wanted["pattern"], document) is not None, document
    values = list(found(document, wanted["path"]))
    value = values[0] if values else None
    if kind == "exists":
        return bool(values), value
    if kind == "equal":
        return bool(values) and value == wanted["value"], value
    if kind == "contains":
        matching = [item for item in value or [] if covers(item, wanted["content"], wanted.get("any", False))]
        return len(matching) == wanted.get("count", len(matching)) and bool(matching), value
    if kind == "isSubset":
        return bool(values) and all(value.get(k) == v for k, v in wanted["content"].items()), value
    if kind == "lengthEqual":
        return bool(values) and len(value) == wanted["count"], value
    if kind == "matchRegex":
        return isinstance(value, str) and re.search(wanted["pattern"], value) is not None, value
    raise AssertionError(f"the assertion {kind} is not supported here")


def covers(item, content, part):
    if part and isinstance(item, dict):
        return all(item.get(k) == v for k, v in content.items())
    return item == content


STEP = re.compile(r"""\[\?\(@\.(?P<key>[\w.]+)\s*==\s*["'](?P<value>[^"']*)["']\)\]|\[(?P<at>\d+)\]|\["(?P<quoted>[^"]+)"\]|\['(?P<single>[^']+)'\]|\.?(?P<name>[\w$-]+)""")


def found(document, path):
    """What a path such as spec.containers[0].env[?(@.name == "A")].value leads to: one value or none."""
    at, nodes = 0, [document]
    while at < len(path):
        step = STEP.match(path, at)
        assert step, f"cannot read the path {path!r} at {at}"
        at = step.end()
        name = step["name"] or step["quoted"] or step["single"]
        following = []
        for node in nodes:
            if name is not None:
                following += [node[name]] if isinstance(node, dict) and name in node else []
            elif step["at"] is not None:
                following += node[int(step["at"]):int(step["at"]) + 1] if isinstance(node, list) else []
            else:
                matching = node if isinstance(node, list) else []
                following += [n for n in matching if isinstance(n, dict) and str(n.get(step["key"])) == step["value"]]
        nodes = following
    return nodes


def put(values, path, value):
    """Sets a dotted path."""
    *parents, last = path.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
    values[last] = value


def merged(under, over):
    both = dict(under)
    for key, value in over.items():
        deeper = isinstance(value, dict) and isinstance(both.get(key), dict)
        both[key] = merged(both[key], value) if deeper else value
    return both


def the_runner_can_fail():
    document = {"kind": "Service", "spec": {"ports": [{"name": "http", "port": 1}], "type": "ClusterIP"}}
    cases = [
        ("isKind", {"of": "Service"}, True),
        ("isKind", {"of": "Pod"}, False),
        ("equal", {"path": "spec.type", "value": "ClusterIP"}, True),
        ("equal", {"path": "spec.type", "value": "NodePort"}, False),
        ("equal", {"path": "spec.none", "value": None}, False),
        ("equal", {"path": 'spec.ports[?(@.name == "http")].port', "value": 1}, True),
        ("exists", {"path": "spec.ports[1]"}, False),
        ("contains", {"path": "spec.ports", "content": {"name": "http", "port": 1}}, True),
        ("contains", {"path": "spec.ports", "content": {"name": "http"}}, False),
        ("contains", {"path": "spec.ports", "content": {"name": "http"}, "any": True}, True),
        ("isSubset", {"path": "spec", "content": {"type": "ClusterIP"}}, True),
        ("lengthEqual", {"path": "spec.ports", "count": 2}, False),
        ("matchRegex", {"path": "spec.type", "pattern": "^Cluster"}, True),
    ]
    for kind, wanted, expected in cases:
        assert holds_for(document, kind, wanted)[0] == expected, (kind, wanted)
    try:
        holds_for(document, "matchSnapshot", {"path": "spec"})
    except AssertionError:
        return
    raise AssertionError("an unknown assertion was passed over")
