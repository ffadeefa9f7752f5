"""Workflows, the Dockerfile, and the licences of what is built in: what can be checked of them offline.

Offline, once cargo has downloaded the crates: of advisories only the public workflow knows.
"""

import json
import re
import tomllib

import yaml

from tools import ROOT, check, run, tool

WORKFLOWS = ROOT / ".github/workflows"
# Manifests whose crates end up with users, or in the tools of the repository.
MANIFESTS = ("Cargo.toml", "fuzz/Cargo.toml", "tests/clients/rust/Cargo.toml")
# Kept apart from the gateway on purpose, and allowed what it is not.
TEST_ONLY = {"fuzz/Cargo.toml": {"NCSA"}, "tests/clients/rust/Cargo.toml": set()}


def run_all():
    files = sorted(WORKFLOWS.glob("*.yml"))
    assert files
    with check("workflows: their schema"):
        run(tool("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", *files)
    with check("workflows: their security"):
        run(tool("zizmor"), "--offline", "--no-progress", "--persona", "regular", WORKFLOWS)
    for file in files:
        with check(f"workflows: {file.name}: permissions, pins, timeouts"):
            habits(yaml.safe_load(file.read_text()), file.read_text())
    with check("Dockerfile: its style"):
        run(tool("hadolint"), ROOT / "Dockerfile")
    with check("scripts can be read by a shell"):
        for script in ("tests/run", "tests/setup", "tests/image", "tests/chart/run", "tests/chart/cluster"):
            run("bash", "-n", ROOT / script)
    with check("licences: expressions are understood"):
        expressions()
    deny = tomllib.loads((ROOT / "deny.toml").read_text())
    for manifest in MANIFESTS:
        with check(f"licences, sources and bans: {manifest}"):
            crates(deny, manifest)


def habits(workflow, text):
    assert workflow["permissions"] == {}, "permissions belong to the jobs"
    assert workflow["concurrency"]
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] and "permissions" in job, name
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, name
            assert "${{" not in step.get("run", ""), f"{name}: an expression in a script"
    for use in re.findall(r"uses: (.*)", text):
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use), use


# === Licences


def crates(deny, manifest):
    command = ("cargo", "metadata", "--quiet", "--locked", "--format-version", "1", "--manifest-path", ROOT / manifest)
    output = run(*command)
    packages = json.loads(output[output.index("{"):])["packages"]
    assert len(packages) > 10, "too few crates"
    allowed = set(deny["licenses"]["allow"]) | TEST_ONLY.get(manifest, set())
    banned = {entry["crate"] for entry in deny["bans"]["deny"]} if manifest == "Cargo.toml" else set()
    complaints = []
    for package in packages:
        name = f"{package['name']} {package['version']}"
        source = package["source"]
        if source is not None and not source.startswith("registry+"):
            complaints.append(f"{name} comes from {source}")
        if source is not None and not may_use(package["license"] or "", allowed):
            complaints.append(f"{name}: licence {package['license']}")
        if package["name"] in banned:
            complaints.append(f"{name} is banned")
        if source is None:
            complaints += [
                f"{dependency['name']}: any version" for dependency in package["dependencies"]
                if dependency["req"] == "*" and not dependency.get("path")
            ]
    assert not complaints, "\n".join(complaints)


def may_use(expression, allowed):
    """Whether an SPDX expression can be met by the allowed licences. The old slash means OR."""
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))
    tokens.reverse()

    def either():
        met = both()
        while tokens and tokens[-1] == "OR":
            tokens.pop()
            met = both() | met
        return met

    def both():
        met = one()
        while tokens and tokens[-1] == "AND":
            tokens.pop()
            met = one() & met
        return met

    def one():
        token = tokens.pop()
        if token == "(":
            met = either()
            assert tokens.pop() == ")", expression
            return met
        if tokens and tokens[-1] == "WITH":
            tokens.pop()
            token = f"{token} WITH {tokens.pop()}"
        return token in allowed

    if not tokens:
        return False
    met = either()
    assert not tokens, f"cannot read {expression!r}"
    return met


def expressions():
    allowed = {"MIT", "ISC", "Apache-2.0 WITH LLVM-exception"}
    for expression, expected in {
        "MIT": True, "GPL-3.0": False, "": False, "MIT OR GPL-3.0": True, "GPL-3.0/MIT": True,
        "MIT AND GPL-3.0": False, "(GPL-3.0 OR MIT) AND ISC": True, "GPL-3.0 OR MIT AND GPL-2.0": False,
        "Apache-2.0 WITH LLVM-exception": True, "Apache-2.0": False,
    }.items():
        assert may_use(expression, allowed) == expected, expression
