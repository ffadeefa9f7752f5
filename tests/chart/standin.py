"""A stand-in for the API server: enough HTTP for Helm's real actions, and strict about what objects may hold.

It keeps objects in memory and knows the kinds that the chart makes. It checks them against the schemas of Kubernetes as
strictly as the real one does with fieldValidation=Strict, and refuses changes of what cannot be changed. There are no
controllers: nothing ever becomes ready.
"""

import copy
import http.server
import json
import threading
import urllib.parse

import kubernetes_validate
import yaml

from tools import NEWEST

# group/version, kind, plural
KINDS = [
    ("v1", "Namespace", "namespaces"),
    ("v1", "ConfigMap", "configmaps"),
    ("v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    ("v1", "Pod", "pods"),
    ("v1", "Secret", "secrets"),
    ("v1", "Service", "services"),
    ("v1", "ServiceAccount", "serviceaccounts"),
    ("apps/v1", "Deployment", "deployments"),
    ("apps/v1", "StatefulSet", "statefulsets"),
    ("networking.k8s.io/v1", "Ingress", "ingresses"),
    ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    ("monitoring.coreos.com/v1", "ServiceMonitor", "servicemonitors"),
    ("monitoring.coreos.com/v1", "PodMonitor", "podmonitors"),
    ("monitoring.coreos.com/v1", "PrometheusRule", "prometheusrules"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes"),
    ("autoscaling.k8s.io/v1", "VerticalPodAutoscaler", "verticalpodautoscalers"),
    ("grafana.integreatly.org/v1beta1", "GrafanaDashboard", "grafanadashboards"),
    ("cert-manager.io/v1", "Certificate", "certificates"),
]
# All that may differ in a StatefulSet's spec after it was made.
MUTABLE = {
    "replicas", "ordinals", "template", "updateStrategy", "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
    "revisionHistoryLimit",
}


class Refused(Exception):
    def __init__(self, code, reason, message):
        super().__init__(message)
        self.code, self.reason = code, reason


class ApiServer:
    """Runs within `with`; `objects` maps (kind, namespace, name) to what was stored."""

    def __init__(self):
        self.objects = {}
        self.lock = threading.Lock()

    def __enter__(self):
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                try:
                    with api.lock:
                        code, answer = api.answer(self.command, self.path, body)
                except Refused as refused:
                    code, answer = refused.code, status(refused)
                text = json.dumps(answer).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def kubeconfig(self):
        return yaml.safe_dump({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.server.server_port}"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "prod"}}],
            "current-context": "c",
            "users": [{"name": "u", "user": {}}],
        })

    def of_kind(self, kind):
        return {name: stored for (k, _, name), stored in self.objects.items() if k == kind}

    def answer(self, method, target, body):
        url = urllib.parse.urlsplit(target)
        query = dict(urllib.parse.parse_qsl(url.query))
        if method == "GET" and (found := discovery(url.path)) is not None:
            return 200, found
        api_version, namespace, plural, name = read_path(url.path)
        kind = next((k for v, k, p in KINDS if (v, p) == (api_version, plural)), None)
        if kind is None:
            raise Refused(404, "NotFound", f"no resource {plural} in {api_version}")
        key = kind, namespace, name
        if method == "GET" and name is None:
            items = [o for (k, n, _), o in self.objects.items() if k == kind and namespace in (None, n)]
            return 200, {"apiVersion": api_version, "kind": f"{kind}List", "metadata": {}, "items": items}
        if method in ("GET", "DELETE") and key not in self.objects:
            raise Refused(404, "NotFound", f"{plural} {name!r} not found")
        if method == "GET":
            return 200, self.objects[key]
        if method == "DELETE":
            self.objects.pop(key)
            return 200, {"apiVersion": "v1", "kind": "Status", "status": "Success"}
        new = yaml.safe_load(body)
        name = new["metadata"]["name"]
        self.store((kind, namespace, name), new, dry_run="dryRun" in query)
        return (201 if method == "POST" else 200), new

    def store(self, key, new, dry_run):
        kind, namespace, name = key
        old = self.objects.get(key)
        if namespace and new["metadata"].get("namespace", namespace) != namespace:
            raise Refused(400, "BadRequest", "the namespace of the object does not match that of the request")
        try:
            kubernetes_validate.validate(new, NEWEST, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            pass  # Of another group; crds.mjs checks those.
        except kubernetes_validate.ValidationError as error:
            raise Refused(422, "Invalid", f"{kind} {name}: {error.message} at {list(error.path)}") from None
        if old and kind == "StatefulSet":
            differing = {k for k in old["spec"] | new["spec"] if old["spec"].get(k) != new["spec"].get(k)}
            if differing - MUTABLE:
                raise Refused(422, "Invalid", f"StatefulSet {name}: Forbidden: updates to {differing - MUTABLE}")
        if old and kind == "Deployment" and old["spec"]["selector"] != new["spec"]["selector"]:
            raise Refused(422, "Invalid", f"Deployment {name}: field is immutable: selector")
        if not dry_run:
            new["metadata"].setdefault("uid", f"{len(self.objects)}")
            new["metadata"]["resourceVersion"] = "1"
            self.objects[key] = copy.deepcopy(new)


def status(refused):
    return {
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": refused.code, "reason": refused.reason,
        "message": str(refused),
    }


def read_path(path):
    """(version, namespace, plural, name) of /apis/apps/v1/namespaces/prod/deployments/demo and the like."""
    parts = path.strip("/").split("/")
    if parts[0] == "api":
        version, rest = parts[1], parts[2:]
    else:
        version, rest = "/".join(parts[1:3]), parts[3:]
    namespace = None
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    return version, namespace, rest[0] if rest else None, rest[1] if len(rest) > 1 else None


def discovery(path):
    """What the server says of itself, or None if the path is that of an object."""
    if path == "/version":
        major, minor = NEWEST.split(".")
        return {"major": major, "minor": minor, "gitVersion": f"v{NEWEST}.0"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    groups = sorted({version for version, _, _ in KINDS if "/" in version})
    if path == "/apis":
        return {
            "kind": "APIGroupList", "apiVersion": "v1",
            "groups": [
                {"name": group.split("/")[0],
                 "versions": [{"groupVersion": group, "version": group.split("/")[1]}],
                 "preferredVersion": {"groupVersion": group, "version": group.split("/")[1]}}
                for group in groups
            ],
        }
    version = path.removeprefix("/apis/").removeprefix("/api/")
    resources = [
        {"name": plural, "singularName": kind.lower(), "namespaced": kind != "Namespace", "kind": kind,
         "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"]}
        for v, kind, plural in KINDS if v == version
    ]
    if resources:
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}
    if path == "/openapi/v3":
        paths = {f"apis/{v}" if "/" in v else f"api/{v}": None for v, _, _ in KINDS}
        return {"paths": {p: {"serverRelativeURL": f"/openapi/v3/{p}?hash=1"} for p in paths}}
    if path.startswith("/openapi/v3/"):
        prefix = path.removeprefix("/openapi/v3")
        return openapi(prefix)
    return None


def openapi(prefix):
    """As much of the document as tells Helm that fields are checked on the server."""
    version = prefix.removeprefix("/apis/").removeprefix("/api/")
    group, _, short = version.rpartition("/")
    paths = {}
    for v, kind, plural in KINDS:
        if v == version:
            paths[f"{prefix}/namespaces/{{namespace}}/{plural}/{{name}}"] = {
                "patch": {
                    "parameters": [{"name": "fieldValidation", "in": "query"}, {"name": "dryRun", "in": "query"}],
                    "responses": {"200": {"description": "OK"}},
                    "x-kubernetes-group-version-kind": {"group": group, "version": short, "kind": kind},
                }
            }
    return {"openapi": "3.0.0", "info": {"title": "stand-in", "version": "1"}, "paths": paths}
