"""What can be said of the chart without installing it: style, schemas, the server's own check, generated parts."""

import json
import pathlib
import re
import shutil
import tempfile

import helm_python
import kubernetes_validate
import yaml

import restricted
from served import Pod
from tools import CHART, HERE, NAMESPACE, NEWEST, NODE_MODULES, ROOT, chart, check, ci_files, gateway, objects, refused, render, run, tool

# Groups whose kinds crds.mjs can check, and those of which no schema can be had.
CHECKED_GROUPS = ("monitoring.coreos.com", "gateway.networking.k8s.io", "cert-manager.io")
UNCHECKED_KINDS = {"VerticalPodAutoscaler", "GrafanaDashboard"}


def run_all():
    with check("YAML style"):
        run(tool("yamllint"), "--strict", "--config-file", HERE / "yamllint.yaml", CHART, ROOT / ".github", HERE)
    with check("lint"):
        found = helm_python.lint(str(CHART), strict=True)
        assert not found["errors"], found
    with check("the restricted profile is checked"):
        restricted.test_itself()
    with check("every template is rendered by some file of values"):
        every_template_is_used()
    renders = {}
    for name, (values, oldest) in ci_files().items():
        with check(f"{name}: values fit the schema, and it renders"):
            chart().validate_schema(values)
            renders[name] = objects(values)
        if name not in renders:
            continue
        with check(f"{name}: Kubernetes {oldest} and {NEWEST} take it"):
            core_kinds(renders[name], oldest)
        with check(f"{name}: restricted pods"):
            restricted_pods(renders[name])
        with check(f"{name}: names, namespaces and labels"):
            metadata(renders[name], values)
        with check(f"{name}: the server takes its configuration"):
            server_configuration(renders[name], values)
    with check("kinds of other groups"):
        other_kinds([o for found in renders.values() for o in found])
    with check("the same values give the same text"):
        values = ci_files()["servicemonitor"][0]
        assert render(values) == render(values)
    with check("README: parameters"):
        assert generated_readme() == (CHART / "README.md").read_text(), "stale: tests/chart/run --update"
    with check("README: alerts"):
        assert alert_table() in (CHART / "README.md").read_text(), "stale: tests/chart/run --update"
    with check("docs/alerts.yaml: the alerts without Kubernetes"):
        assert plain_alerts() == PLAIN_ALERTS.read_text(), "stale: tests/chart/run --update"
        run("promtool", "check", "rules", PLAIN_ALERTS)
    with check("documents: their examples are values"):
        examples()
    with check("documents: every alert is explained"):
        explained()
    with check("schema: every value is known, no more and no less"):
        schema_covers_values()
    with check("versions of chart and server"):
        versions()


def every_template_is_used():
    used = set()
    for values, _ in ci_files().values():
        used |= {name for name, text in render(values).items() if text.strip()}
    templates = {f"tallygate/{file.relative_to(CHART)}" for file in (CHART / "templates").rglob("*.yaml")}
    unused = templates - used - {"tallygate/templates/guards.yaml"}
    assert not unused, unused


def core_kinds(found, oldest):
    for document in found:
        for version in (oldest, NEWEST):
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.SchemaNotFoundError:
                group = document["apiVersion"].split("/")[0]
                known = group in CHECKED_GROUPS or document["kind"] in UNCHECKED_KINDS
                assert known, f"no schema for {document['kind']} of {document['apiVersion']}"
            except kubernetes_validate.ValidationError as error:
                raise AssertionError(f"{document['kind']}, {version}: {error.message} at {list(error.path)}") from None


def pod_specs(found):
    for document in found:
        if document["kind"] == "Pod":
            yield document["spec"]
        elif document["kind"] in ("Deployment", "StatefulSet"):
            yield document["spec"]["template"]["spec"]


def restricted_pods(found):
    specs = list(pod_specs(found))
    assert specs
    for spec in specs:
        complaints = restricted.complaints(spec)
        assert not complaints, complaints


def metadata(found, values):
    seen = set()
    for document in found:
        meta = document["metadata"]
        key = document["kind"], meta.get("namespace"), meta["name"]
        assert key not in seen, f"{key} twice"
        seen.add(key)
        if document["kind"] == "Secret" or meta["name"].endswith("-config") or meta["name"].endswith("-extra"):
            continue
        assert meta["namespace"], key
        assert len(meta["name"]) <= 63, key
        labels = meta["labels"]
        for label in ("name", "instance", "version", "component", "part-of", "managed-by"):
            assert labels.get(f"app.kubernetes.io/{label}"), (key, label)
        assert all(re.fullmatch(r"[-._A-Za-z0-9]{1,63}", str(value)) for value in labels.values()), labels
    workload = next(o for o in found if o["kind"] in ("Deployment", "StatefulSet"))
    assert len(workload["metadata"]["name"]) <= 52
    selector = workload["spec"]["selector"]["matchLabels"]
    pod = workload["spec"]["template"]["metadata"]["labels"]
    assert selector.items() <= pod.items()
    assert set(selector) == {f"app.kubernetes.io/{label}" for label in ("name", "instance", "component")}
    # Whatever else there is, only our pods are behind the Services.
    for pod_object in (o for o in found if o["kind"] == "Pod"):
        assert not selector.items() <= pod_object["metadata"]["labels"].items()
    for service in (o for o in found if o["kind"] == "Service"):
        assert service["spec"]["selector"] == selector


def server_configuration(found, values):
    """Feeds the files that a pod would get to the real server, with the pod's flags and variables."""
    workload = next(o for o in found if o["kind"] in ("Deployment", "StatefulSet"))
    container = next(c for c in workload["spec"]["template"]["spec"]["containers"] if c["name"] == "tallygate")
    variables = {v["name"]: v["value"] for v in container.get("env", []) if "value" in v}
    with tempfile.TemporaryDirectory() as folder:
        pod = Pod(pathlib.Path(folder), values)
        run(gateway(), "check-config", pod.file, *pod.flags, env=variables)
        resolved = run(gateway(), "print-config", f"--config.file={pod.file}", *pod.flags, env=variables)
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert pod.ports == (f":{ports['http']}", f":{ports['telemetry']}"), pod.ports
        mounted = any(mount["name"] == "data" for mount in container["volumeMounts"])
        path = yaml.safe_load(resolved)["store"]["path"]
        assert path == (f"{folder}/data/store" if mounted else ""), path


def other_kinds(found):
    chosen = [o for o in found if o["apiVersion"].split("/")[0] in CHECKED_GROUPS]
    kinds = {o["kind"] for o in chosen}
    assert {"ServiceMonitor", "PodMonitor", "PrometheusRule", "HTTPRoute"} <= kinds, kinds
    crds(chosen)
    # The check itself: a misspelt field and a wrong type are found.
    monitor = json.loads(json.dumps(next(o for o in chosen if o["kind"] == "ServiceMonitor")))
    for endpoint in ({"port": "http", "honourLabels": True}, {"port": "http", "honorLabels": "yes"}):
        monitor["spec"]["endpoints"] = [endpoint]
        try:
            crds([monitor])
        except AssertionError:
            continue
        raise AssertionError(f"{endpoint} was not refused")


def crds(chosen):
    run("node", "--no-warnings", HERE / "crds.mjs", NODE_MODULES, input=json.dumps(chosen))


# === What is generated


def generated_readme():
    """The README of the chart with its tables made anew, by a copy."""
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copy(CHART / "README.md", folder)
        script = NODE_MODULES / "@bitnami/readme-generator-for-helm/bin/index.js"
        run("node", script, "--values", CHART / "values.yaml", "--readme", copy)
        with open(copy) as file:
            return file.read()


ALERTS = "<!-- alerts, made by tests/chart/run --update -->\n", "<!-- end of alerts -->"


def alert_table():
    """The alerts, with their defaults, as the README lists them."""
    rules = yaml.safe_load((CHART / "values.yaml").read_text())["prometheusRule"]["rules"]
    enabled = {"prometheusRule": {"enabled": True, "rules": {name: {"enabled": True} for name in rules}}}
    rendered = next(o for o in objects(enabled) if o["kind"] == "PrometheusRule")["spec"]["groups"][0]["rules"]
    texts = {rule["alert"].removeprefix("Tallygate"): rule["annotations"]["summary"] for rule in rendered}
    lines = ["| alert | says | threshold | for | severity |", "|---|---|---|---|---|"]
    for name, rule in rules.items():
        off = "" if rule["enabled"] else ", off"
        threshold = rule.get("threshold", "")
        lines.append(f"| `{name}` | {texts[name]} | {threshold} | {rule['for']} | {rule['severity']}{off} |")
    return "\n".join([ALERTS[0], *lines, "", ALERTS[1]])


PLAIN_ALERTS = ROOT / "docs/alerts.yaml"
PLAIN_HEAD = """\
# Alerts for a gateway outside of Kubernetes: a file for rule_files of Prometheus, whose job is called tallygate.
# What to do about each is in kubernetes.md, under "Alerts". Made from the chart by tests/chart/run --update.
"""
# They compare with what only the chart knows.
OF_THE_CHART = "TallygateMemoryNear", "TallygateReplicasMissing"


def plain_alerts():
    """The alerts that are on by default, for targets without the labels that Kubernetes gives them."""
    values = {"prometheusRule": {"enabled": True, "job": "tallygate"}}
    group = next(o for o in objects(values) if o["kind"] == "PrometheusRule")["spec"]["groups"][0]
    rules = [rule for rule in group["rules"] if rule["alert"] not in OF_THE_CHART]
    text = yaml.safe_dump({"groups": [{"name": "tallygate", "rules": rules}]}, sort_keys=False, width=1000)
    for kubernetes, plain in (
        (f',namespace="{NAMESPACE}"', ""),
        (f'{{namespace="{NAMESPACE}"}}', ""),
        (f" in namespace {NAMESPACE}", ""),
        ("{{ $labels.pod }} ", ""),
        ("(pod, ", "("),
    ):
        assert kubernetes in text, kubernetes
        text = text.replace(kubernetes, plain)
    assert "pod" not in text and NAMESPACE not in text, text
    return PLAIN_HEAD + text


def update():
    PLAIN_ALERTS.write_text(plain_alerts())
    readme = CHART / "README.md"
    readme.write_text(generated_readme())
    before, rest = readme.read_text().split(ALERTS[0])
    readme.write_text(before + alert_table() + rest.split(ALERTS[1])[1])


DOCUMENTS = CHART / "README.md", ROOT / "docs/kubernetes.md"


def examples():
    tried = 0
    for document in DOCUMENTS:
        for block in re.findall(r"^ *```yaml\n(.*?)^ *```$", document.read_text(), re.M | re.S):
            values = yaml.safe_load(block)
            if "scrape_configs" in values:
                # Debian's Prometheus is built without Kubernetes; the rest of the example can be checked.
                for job in values["scrape_configs"]:
                    assert job.pop("kubernetes_sd_configs")
                with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
                    yaml.safe_dump(values, file)
                    run("promtool", "check", "config", file.name)
            else:
                reason = refused(values)
                assert not reason, f"{document.name}: {reason}\n{block}"
            tried += 1
    assert tried >= 5, tried


def explained():
    headings = set(re.findall(r"^### Tallygate(\w+)$", DOCUMENTS[1].read_text(), re.M))
    rules = set(yaml.safe_load((CHART / "values.yaml").read_text())["prometheusRule"]["rules"])
    assert headings == rules, headings ^ rules


def schema_covers_values():
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    compare(schema, values, schema, "")


def compare(node, value, schema, path):
    if "$ref" in node:
        node = schema["definitions"][node["$ref"].rsplit("/", 1)[1]]
    if node.get("additionalProperties") is not False or "properties" not in node or not value:
        return
    # Maps that are empty by default, and probes, which are Kubernetes' own, may be more than they show.
    known, present = set(node["properties"]), set(value)
    open_ended = path in (".deployment.strategy", ".persistence.emptyDir", ".updateStrategy", ".resources", ".config")
    assert present <= known, f"{path}: {present - known} not in the schema"
    assert open_ended or path.endswith("Probe") or known == present, f"{path}: {known - present} not in values.yaml"
    for key in present:
        compare(node["properties"][key], value[key], schema, f"{path}.{key}")


def versions():
    manifest = (ROOT / "Cargo.toml").read_text()
    version = re.search(r'^version = "(.*)"$', manifest, re.M).group(1)
    meta = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert str(meta["appVersion"]) == version, f"appVersion {meta['appVersion']}, the server is {version}"
    assert re.fullmatch(r"\d+\.\d+\.\d+", meta["version"])
