"""Install, upgrade, rollback and uninstall by Helm's real actions, against the stand-in for the API server."""

import concurrent.futures
import contextlib

import helm_python

from standin import ApiServer
from tools import CHART, NAMESPACE, RELEASE, check, ci_files


def run_all():
    with check("install, upgrade, rollback, uninstall"):
        with cluster() as (api, helm):
            life(api, helm)
    with check("from memory to disk and back"):
        with cluster() as (api, helm):
            change_kind(api, helm)
    with check("a claim that was made for a Deployment outlives the release"):
        with cluster() as (api, helm):
            helm.install(str(CHART), RELEASE, {"kind": "Deployment"}, namespace=NAMESPACE, wait="hookOnly")
            assert set(api.of_kind("PersistentVolumeClaim")) == {"demo-tallygate-data"}
            helm.uninstall(RELEASE, wait="hookOnly")
            assert set(api.of_kind("PersistentVolumeClaim")) == {"demo-tallygate-data"}
            assert set(api.of_kind("Deployment")) == set()
    with check("another size of the volume is refused, as the README says"):
        with cluster() as (api, helm):
            helm.install(str(CHART), RELEASE, {}, namespace=NAMESPACE, wait="hookOnly")
            refused(lambda: helm.upgrade(
                str(CHART), RELEASE, {"persistence": {"size": "4Gi"}}, namespace=NAMESPACE, wait="hookOnly"
            ), "updates to")
    with check("a guard stops an install before anything is made"):
        with cluster() as (api, helm):
            values = {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}
            refused(lambda: helm.install(str(CHART), RELEASE, values, namespace=NAMESPACE), "scraped twice")
            refused(lambda: helm.install(str(CHART), RELEASE, {"replicas": 1}, namespace=NAMESPACE), "not allowed")
            assert not api.objects
    with check("the stand-in refuses a misspelt field"):
        with cluster() as (api, helm):
            values = {"podSecurityContext": {"runAsNonRoot": True, "runAsUsr": 1}}
            refused(lambda: helm.install(str(CHART), RELEASE, values, namespace=NAMESPACE), "runAsUsr")
    # Helm waits a second here and there, so all files of values are tried at once.
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        tried = {name: pool.submit(come_and_go, values) for name, (values, _) in ci_files().items()}
    for name in tried:
        with check(f"{name}: install and uninstall"):
            error = tried[name].result()
            assert not error, error


def come_and_go(values):
    """What goes wrong, or None."""
    try:
        with cluster() as (api, helm):
            helm.install(str(CHART), RELEASE, values, namespace=NAMESPACE, wait="hookOnly")
            made = {key[0] for key in api.objects}
            helm.uninstall(RELEASE, wait="hookOnly")
            left = {key for key in api.objects if key[0] != "PersistentVolumeClaim"}
            return None if "Service" in made and not left else f"made {made}, left {left}"
    except helm_python.HelmError as error:
        return str(error)


@contextlib.contextmanager
def cluster():
    with ApiServer() as api:
        with helm_python.Config(
            kubeconfig_content=api.kubeconfig(), storage_driver="memory", namespace=NAMESPACE
        ) as helm:
            yield api, helm


def refused(action, words):
    try:
        action()
    except helm_python.HelmError as error:
        assert words in str(error), error
        return
    raise AssertionError("it was accepted")


def life(api, helm):
    helm.install(str(CHART), RELEASE, {}, namespace=NAMESPACE, wait="hookOnly")
    first = {key: dict(stored) for key, stored in api.objects.items()}
    assert {key[0] for key in first} == {"ConfigMap", "Service", "ServiceAccount", "StatefulSet"}, set(first)
    # The same again changes nothing.
    helm.upgrade(str(CHART), RELEASE, {}, namespace=NAMESPACE, wait="hookOnly")
    assert spec(api) == first["StatefulSet", NAMESPACE, "demo-tallygate"]["spec"]
    values = {
        "replicaCount": 3, "config": {"ttl": {"default": "36h"}}, "serviceMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True}, "networkPolicy": {"enabled": True},
    }
    helm.upgrade(str(CHART), RELEASE, values, namespace=NAMESPACE, wait="hookOnly")
    assert spec(api)["replicas"] == 3
    assert "default: 36h" in api.of_kind("ConfigMap")["demo-tallygate"]["data"]["tallygate.yaml"]
    assert api.of_kind("ServiceMonitor") and api.of_kind("PrometheusRule") and api.of_kind("PodDisruptionBudget")
    helm.rollback(RELEASE, version=1, wait="hookOnly")
    assert spec(api)["replicas"] == 1
    assert set(api.objects) == set(first), set(api.objects) ^ set(first)
    helm.uninstall(RELEASE, wait="hookOnly")
    assert not api.objects, set(api.objects)


def spec(api):
    return api.of_kind("StatefulSet")["demo-tallygate"]["spec"]


def change_kind(api, helm):
    helm.install(str(CHART), RELEASE, {"store": {"type": "memory"}}, namespace=NAMESPACE, wait="hookOnly")
    assert workloads(api) == {"Deployment"}, workloads(api)
    helm.upgrade(str(CHART), RELEASE, {"store": {"type": "disk"}}, namespace=NAMESPACE, wait="hookOnly")
    assert workloads(api) == {"StatefulSet"}, workloads(api)
    helm.upgrade(str(CHART), RELEASE, {"store": {"type": "memory"}}, namespace=NAMESPACE, wait="hookOnly")
    assert workloads(api) == {"Deployment"}, workloads(api)


def workloads(api):
    return {key[0] for key in api.objects} & {"Deployment", "StatefulSet"}
