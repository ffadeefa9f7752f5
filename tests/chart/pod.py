"""The pod that the chart makes from its defaults, in a form that tests/image can run without Kubernetes.

    pod.py FOLDER     writes the pod's files below FOLDER/etc/tallygate, and prints shell assignments

It fails on a setting that tests/image would not apply.
"""

import pathlib
import shlex
import sys

from tools import objects, only

# What tests/image does with each setting of the two security contexts.
APPLIED = {
    "runAsUser", "runAsGroup", "runAsNonRoot", "fsGroup", "fsGroupChangePolicy", "allowPrivilegeEscalation",
    "privileged", "readOnlyRootFilesystem", "capabilities",
    "seccompProfile",  # The filter of the container runtime; there is none here.
}


def main(folder):
    found = objects({})
    pod = only(found, "StatefulSet")["spec"]["template"]["spec"]
    container, = pod["containers"]
    context = pod["securityContext"] | container["securityContext"]
    assert set(context) <= APPLIED, set(context) - APPLIED
    assert context["readOnlyRootFilesystem"] and not context["privileged"] and context["runAsNonRoot"], context
    assert not context["allowPrivilegeEscalation"] and context["capabilities"] == {"drop": ["ALL"]}, context
    assert context["fsGroup"] == context["runAsGroup"], "the volume belongs to a group that the process is not in"
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts == {"config": "/etc/tallygate", "data": "/data"}, mounts
    files = pathlib.Path(folder) / "etc/tallygate"
    files.mkdir(parents=True)
    for name, text in only(found, "ConfigMap")["data"].items():
        (files / name).write_text(text)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    ready = container["readinessProbe"]["httpGet"]
    for name, value in {
        "pod_uid": context["runAsUser"],
        "pod_gid": context["runAsGroup"],
        "pod_group": context["fsGroup"],
        "pod_port": ports["http"],
        "pod_ready": f"http://127.0.0.1:{ports[ready['port']]}{ready['path']}",
        "pod_args": " ".join(container["args"]),
        "pod_grace": pod["terminationGracePeriodSeconds"],
    }.items():
        print(f"{name}={shlex.quote(str(value))}")


main(sys.argv[1])
