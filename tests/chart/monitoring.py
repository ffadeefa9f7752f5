"""Alerts and dashboard: rules fire and do not fire, and every query finds data of a real gateway in a real Prometheus."""

import contextlib
import json
import re
import socket
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request

import yaml

from tools import CHART, HERE, ROOT, check, gateway, objects, only, run

SELECTOR = 'job="demo-tallygate",namespace="prod"'
# What Prometheus itself tells of a scrape.
SCRAPE_METRICS = {"up", "scrape_duration_seconds", "scrape_samples_scraped"}
# Panels that show nothing in a gateway where all is well.
MAY_BE_EMPTY = set()
SCRAPES = 4


def run_all():
    rules = rendered_rules()
    with check("alerts: promtool takes them"):
        with written({"groups": [{"name": "g", "rules": rules}]}) as file:
            run("promtool", "check", "rules", file)
    histories = yaml.safe_load((HERE / "alerts.yaml").read_text())
    with check("alerts: all have a history"):
        names = {rule["alert"].removeprefix("Tallygate") for rule in rules}
        values = yaml.safe_load((CHART / "values.yaml").read_text())
        assert set(histories) == names == set(values["prometheusRule"]["rules"]), names ^ set(histories)
    for rule in rules:
        history = histories.get(rule["alert"].removeprefix("Tallygate"))
        if history:
            with check(f"alerts: {rule['alert']} fires, says so, and is quiet"):
                try_rule(rule, history)
    with check("alerts: a history that is wrong is noticed"):
        wrong = histories["Down"] | {"fires": histories["Down"]["fires"] | {"at": "1m"}}
        try:
            try_rule(rules[0], wrong)
        except AssertionError:
            pass
        else:
            raise AssertionError("promtool took it")
    dashboard = json.loads((CHART / "files/dashboard.json").read_text())
    with check("every metric that alerts and dashboard name is exposed"):
        queries = [rule["expr"] for rule in rules] + [query for _, query in panel_queries(dashboard)]
        names = set(re.findall(r"\b(tallygate_\w+)", "\n".join(queries)))
        exposed = {f"{n}{suffix}" for n in exposed_metrics() for suffix in ("", "_bucket", "_sum", "_count")}
        assert len(names) > 20 and names <= exposed, names - exposed
    with check("dashboard: layout"):
        layout(dashboard)
    with check("Alertmanager example"):
        alertmanager_example(rules)
    with scraped_gateway() as prometheus:
        for title, query in panel_queries(dashboard):
            with check(f"dashboard: {title}: {query[:70]}"):
                answer = prometheus(substituted(query))
                assert answer or title in MAY_BE_EMPTY, f"no data: {substituted(query)}"
        with check("alerts: none fires in a gateway where all is well"):
            for rule in rules:
                if rule["alert"] != "TallygateReplicasMissing":
                    assert not prometheus(rule["expr"]), rule["alert"]


def rendered_rules():
    rules = yaml.safe_load((CHART / "values.yaml").read_text())["prometheusRule"]["rules"]
    values = {"replicaCount": 2, "prometheusRule": {"enabled": True, "rules": {n: {"enabled": True} for n in rules}}}
    return only(objects(values), "PrometheusRule")["spec"]["groups"][0]["rules"]


@contextlib.contextmanager
def written(document):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(document, file)
        file.flush()
        yield file.name


def try_rule(rule, history):
    labels = {"severity": rule["labels"]["severity"]}
    fires = history["fires"]
    assert history["quiet"], "no quiet history"
    summary = rule["annotations"]["summary"]
    expected = {
        "exp_labels": labels | fires.get("labels", {}),
        "exp_annotations": {"summary": summary, "description": fires["description"]},
    }
    cases = [(fires, [expected])] + [(quiet, []) for quiet in history["quiet"]]
    tests = [
        {
            "interval": "1m",
            "input_series": [
                {"series": name.replace("SEL", SELECTOR), "values": values} for name, values in case["series"].items()
            ],
            "alert_rule_test": [{"eval_time": case["at"], "alertname": rule["alert"], "exp_alerts": alerts}],
        }
        for case, alerts in cases
    ]
    with written({"groups": [{"name": "g", "rules": [rule]}]}) as rules:
        with written({"rule_files": [rules], "evaluation_interval": "1m", "tests": tests}) as file:
            run("promtool", "test", "rules", file)


def exposed_metrics():
    """From the table in the README, which a test compares with the source."""
    readme = (ROOT / "README.md").read_text()
    table = readme.split("<!-- generated: metrics -->")[1].split("<!-- end -->")[0]
    return set(re.findall(r"^\| `(tallygate_\w+)`", table, re.M))


# === The dashboard


def panel_queries(dashboard):
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        yield "annotation", annotation["expr"]


MAY_BE_EMPTY.add("annotation")


def substituted(query):
    query = query.replace("$__rate_interval", "20s").replace("$__interval", "20s")
    for variable in ("job", "namespace", "pod", "pushed_job"):
        query = re.sub(rf"\${variable}\b", ".*", query)
    assert "$" not in query, query
    return query


def layout(dashboard):
    assert dashboard["uid"] == "tallygate" and "__inputs" not in dashboard and not dashboard.get("id")
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    taken = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
        if panel["type"] not in ("row", "alertlist"):
            assert panel["description"] and panel["datasource"]["uid"] == "${datasource}", panel["title"]
    for title, query in panel_queries(dashboard):
        for metric in re.finditer(r"\b(?:tallygate_|scrape_|up\b)\w*(\{[^}]*\})?", query):
            selector = metric.group(1)
            if "__name__" not in query:
                assert selector and '$namespace' in selector and '$job' in selector, (title, query)


def alertmanager_example(rules):
    """The example routes and inhibits by labels and names that there are."""
    example = yaml.safe_load((ROOT / "helm/examples/alertmanager.yaml").read_text())
    receivers = {receiver["name"] for receiver in example["receivers"]}
    route = example["route"]
    assert {r["receiver"] for r in [route, *route["routes"]]} <= receivers
    text = json.dumps(example)
    names = set(re.findall(r"Tallygate\w+", text)) - {"Tallygate"}
    assert names and names <= {rule["alert"] for rule in rules}, names
    severities = {rule["labels"]["severity"] for rule in rules}
    assert set(re.findall(r'severity=\\"(\w+)\\"', text)) <= severities


# === A real gateway and a real Prometheus


@contextlib.contextmanager
def started(command, folder, log):
    with open(f"{folder}/{log}", "w") as output:
        process = subprocess.Popen([str(part) for part in command], stdout=output, stderr=output, cwd=folder)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def ask(url, data=None):
    with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=10) as answer:
        return answer.read()


def wait_for(what, seconds=30):
    deadline = time.monotonic() + seconds
    while True:
        try:
            if what():
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        time.sleep(0.2)


@contextlib.contextmanager
def scraped_gateway():
    """A function that asks a Prometheus which has scraped a gateway several times while it was pushed to."""
    http, telemetry, own = free_ports(3)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        stack.enter_context(started([
            gateway(), f"--web.listen-address=127.0.0.1:{http}", f"--web.management-address=127.0.0.1:{telemetry}",
            "--web.drain-delay=0s", f"--store.path={folder}/store",
        ], folder, "gateway.log"))
        labels = {"namespace": "prod", "pod": "demo-tallygate-0"}
        jobs = [
            {
                "job_name": f"demo-{name}", "honor_labels": name == "http", "scrape_interval": "1s",
                "scrape_timeout": "1s",
                "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": labels | {"endpoint": name}}],
                "relabel_configs": [{"target_label": "job", "replacement": "demo-tallygate"}],
            }
            for name, port in (("http", http), ("telemetry", telemetry))
        ]
        with open(f"{folder}/prometheus.yml", "w") as file:
            yaml.safe_dump({"scrape_configs": jobs}, file)
        stack.enter_context(started([
            "prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{own}",
        ], folder, "prometheus.log"))
        base = f"http://127.0.0.1:{own}"

        def query(text):
            answer = ask(f"{base}/api/v1/query?" + urllib.parse.urlencode({"query": text}))
            return json.loads(answer)["data"]["result"]

        def push(number):
            body = f"# TYPE orders_total counter\norders_total{{shop=\"{number}\"}} 1\n"
            ask(f"http://127.0.0.1:{http}/metrics/job/orders", body.encode())

        wait_for(lambda: ask(f"http://127.0.0.1:{telemetry}/-/ready"))
        number = 0

        def often_enough():
            nonlocal number
            number += 1
            push(number)
            scrapes = query('count_over_time(tallygate_pushes_total{outcome="accepted"}[1m])')
            return scrapes and int(scrapes[0]["value"][1]) >= SCRAPES
        wait_for(often_enough)
        yield query
