"""The Pod Security Standard "restricted", as far as a pod template can break it."""

VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
}
SYSCTLS = {
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
}


def complaints(spec, our_own=True):
    """What the standard forbids in a pod's spec; and with `our_own` what we promise beyond it."""
    found = []
    pod = spec.get("securityContext", {})
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(key):
            found.append(f"{key} is set")
    for volume in spec.get("volumes", []):
        kinds = set(volume) - {"name"}
        if not kinds <= VOLUMES:
            found.append(f"volume {volume['name']} is a {', '.join(kinds)}")
    for sysctl in pod.get("sysctls", []):
        if sysctl["name"] not in SYSCTLS:
            found.append(f"sysctl {sysctl['name']}")
    for container in spec.get("initContainers", []) + spec["containers"]:
        found += [f"{container['name']}: {what}" for what in of_container(container, pod)]
        if our_own and container["name"] in ("tallygate", "check"):
            context = container.get("securityContext", {})
            if context.get("readOnlyRootFilesystem") is not True:
                found.append(f"{container['name']}: the root can be written")
            if "limits" not in container.get("resources", {}):
                found.append(f"{container['name']}: no limits")
    if our_own and spec.get("automountServiceAccountToken") is not False:
        found.append("a token of the API server is mounted")
    return found


def of_container(container, pod):
    context = container.get("securityContext", {})
    if context.get("privileged"):
        yield "privileged"
    if context.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    capabilities = context.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []):
        yield "capabilities are not dropped"
    if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "capabilities are added"
    if context.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        yield "runAsNonRoot is not true"
    if 0 in (context.get("runAsUser"), pod.get("runAsUser")):
        yield "runs as root"
    profile = context.get("seccompProfile", pod.get("seccompProfile", {})).get("type")
    if profile not in ("RuntimeDefault", "Localhost"):
        yield "no seccomp profile"
    if context.get("procMount", "Default") != "Default":
        yield "procMount"
    for port in container.get("ports", []):
        if port.get("hostPort"):
            yield f"hostPort {port['hostPort']}"


def test_itself():
    """A pod that breaks every rule gets a complaint for each."""
    bad = {
        "hostNetwork": True,
        "hostPID": True,
        "hostIPC": True,
        "securityContext": {"runAsUser": 0, "sysctls": [{"name": "kernel.msgmax"}]},
        "volumes": [{"name": "host", "hostPath": {"path": "/"}}],
        "containers": [{
            "name": "tallygate",
            "ports": [{"hostPort": 80}],
            "securityContext": {"privileged": True, "procMount": "Unmasked", "capabilities": {"add": ["SYS_ADMIN"]}},
        }],
    }
    found = complaints(bad)
    assert len(found) == 17, found
    good = {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{
            "name": "other",
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }],
    }
    assert complaints(good) == [], complaints(good)
