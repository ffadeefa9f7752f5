"""The rendered files of a pod, given to the real server: it starts with them, and is as open or closed as they say."""

import contextlib
import http.client
import pathlib
import ssl
import tempfile

import yaml

from monitoring import free_ports, started, wait_for
from tools import check, ci_files, gateway, objects, run

TOKEN = "a-token-for-the-tests"


def run_all():
    with check("served: defaults are plain and open"):
        with served({}) as pod:
            assert pod.push() == 200
            assert pod.scrape() == 200
            assert pod.probe() == 200
            assert any(pod.place("/data/store").iterdir()), "nothing was stored"
    with check("served: memory writes nothing"):
        with served({"store": {"type": "memory"}}) as pod:
            assert pod.push() == 200
            assert not any(pod.place("/data").iterdir())
    with check("served: a drop-in Pushgateway"):
        with served(ci_files()["pushgateway"][0]) as pod:
            assert pod.push() == 200
            assert pod.scrape() == 200
    with check("served: users of a Secret that exists, with TLS and certificates of clients"):
        with served(ci_files()["tls"][0]) as pod:
            assert pod.push() == 401
            assert pod.push(token=TOKEN) == 200
            assert pod.push("elsewhere", token=TOKEN) == 403
            assert pod.scrape(token=TOKEN) == 403
            assert pod.probe() == 200
            assert pod.headers["strict-transport-security"] == "max-age=31536000"
            with refused_connection():
                pod.push(certificate=False, token=TOKEN)
    with check("served: a new certificate and new users reach the process"):
        with served(ci_files()["tls"][0]) as pod:
            before = pod.certificate()
            pod.issue("server")
            wait_for(lambda: pod.certificate() != before)
            pod.write_users("another-token-for-them")
            wait_for(lambda: pod.push(token="another-token-for-them") == 200)
            assert pod.push(token=TOKEN) == 401
    with check("served: users of the values"):
        with served(ci_files()["auth"][0]) as pod:
            assert pod.push() == 401
            assert pod.scrape() == 401
            assert pod.probe() == 200
    with check("served: below a prefix"):
        with served(ci_files()["config"][0]) as pod:
            assert pod.push() == 404
            assert pod.push(prefix="/tally") == 202
            assert pod.probe() == 200


@contextlib.contextmanager
def refused_connection():
    try:
        yield
    except (ssl.SSLError, ConnectionError, http.client.RemoteDisconnected):
        return
    raise AssertionError("it was accepted")


@contextlib.contextmanager
def served(values):
    with tempfile.TemporaryDirectory() as folder:
        pod = Pod(pathlib.Path(folder), values)
        with started([gateway(), f"--config.file={pod.file}", *pod.flags], folder, "gateway.log"):
            try:
                wait_for(lambda: pod.probe() == 200)
                yield pod
            except AssertionError as error:
                raise AssertionError(f"{error}\n{(pod.folder / 'gateway.log').read_text()[-2000:]}") from error


class Pod:
    """A pod's files below a folder, its ports on this machine, and requests to it."""

    def __init__(self, folder, values):
        self.folder = folder
        self.http, self.telemetry = free_ports(2)
        self.tls = values.get("tls", {}).get("enabled", False)
        found = objects(values)
        workload = next(o for o in found if o["kind"] in ("StatefulSet", "Deployment"))
        spec = workload["spec"]["template"]["spec"]
        container = next(c for c in spec["containers"] if c["name"] == "tallygate")
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        for volume in spec["volumes"]:
            place = self.place(mounts[volume["name"]])
            place.mkdir(parents=True, exist_ok=True)
            if "configMap" in volume:
                files = content(found, "ConfigMap", volume["configMap"]["name"])
            elif "secret" in volume:
                files = content(found, "Secret", volume["secret"]["secretName"])
            else:
                files = {}
            for name, text in files.items():
                (place / name).write_text(text.replace("/etc/tallygate", f"{folder}/etc/tallygate"))
        self.place("/data").mkdir(exist_ok=True)
        if self.tls:
            self.make_certificates(values)
        if values.get("auth", {}).get("existingSecret"):
            key = values["auth"].get("existingSecretKey", "users.yaml")
            self.users = self.place("/etc/tallygate-auth") / key
            self.write_users(TOKEN)
        file, *flags = container["args"]
        self.flags = [flag.replace("=/data", f"={folder}/data") for flag in flags]
        self.file = self.place(file.removeprefix("--config.file="))
        config = yaml.safe_load(self.file.read_text())
        self.ports = config["web"]["listen_address"][0], config["web"]["management_address"]
        config["web"] |= {
            "listen_address": [f"127.0.0.1:{self.http}"], "management_address": f"127.0.0.1:{self.telemetry}",
            "drain_delay": "0s",
        }
        self.file.write_text(yaml.safe_dump(config))

    def place(self, path):
        return self.folder / path.lstrip("/")

    def make_certificates(self, values):
        for name in ("server", "client"):
            run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                "-subj", f"/CN={name} authority", "-keyout", self.folder / f"{name}-ca.key",
                "-out", self.folder / f"{name}-ca.crt")
            self.issue(name)
        if "clientCA" not in values["tls"]:
            return
        authority = values["tls"]["clientCA"]
        (self.place("/etc/tallygate-client-ca") / authority["key"]).write_text(
            (self.folder / "client-ca.crt").read_text()
        )

    def issue(self, name):
        """A new certificate of the server, where its Secret is mounted, or of the client."""
        certificate, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        names = {"server": "DNS:localhost", "client": "DNS:ci.example.org"}
        (self.folder / "names").write_text(f"subjectAltName={names[name]}\n")
        request = self.folder / "request"
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
            "-keyout", key, "-out", request)
        run("openssl", "x509", "-req", "-in", request, "-days", "1", "-CA", self.folder / f"{name}-ca.crt",
            "-CAkey", self.folder / f"{name}-ca.key", "-CAcreateserial", "-extfile", self.folder / "names",
            "-out", certificate)
        if name == "server":
            mounted = self.place("/etc/tallygate-tls")
            (mounted / "tls.key").write_text(key.read_text())
            (mounted / "tls.crt").write_text(certificate.read_text())

    def write_users(self, token):
        (self.users.parent / "ci-token").write_text(token)
        users = {"ci": {"token_file": "ci-token", "rights": ["push"], "labels": {"job": "chart"}}}
        self.users.write_text(yaml.safe_dump({"users": users}))

    def connect(self, certificate=True):
        if not self.tls:
            return http.client.HTTPConnection("127.0.0.1", self.http, timeout=10)
        context = ssl.create_default_context(cafile=self.folder / "server-ca.crt")
        if certificate:
            context.load_cert_chain(self.folder / "client.crt", self.folder / "client.key")
        return http.client.HTTPSConnection("localhost", self.http, timeout=10, context=context)

    def certificate(self):
        """The one that the server shows."""
        connection = self.connect()
        connection.connect()
        shown = connection.sock.getpeercert(binary_form=True)
        connection.close()
        return shown

    def ask(self, method, path, body=None, token=None, certificate=True):
        connection = self.connect(certificate)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        self.headers = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status

    def push(self, job="chart", prefix="", **who):
        return self.ask("POST", f"{prefix}/metrics/job/{job}", "# TYPE served_total counter\nserved_total 1\n", **who)

    def scrape(self, **who):
        return self.ask("GET", "/metrics", **who)

    def probe(self):
        """As a kubelet asks: plain, and without credentials."""
        connection = http.client.HTTPConnection("127.0.0.1", self.telemetry, timeout=10)
        connection.request("GET", "/-/ready")
        status = connection.getresponse().status
        connection.close()
        return status


def content(found, kind, name):
    """The files of a ConfigMap or Secret of the render; none of one that exists otherwise."""
    for document in found:
        if document["kind"] == kind and document["metadata"]["name"] == name:
            return document.get("data") or document["stringData"]
    return {}
