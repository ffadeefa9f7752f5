"""Runs the groups of checks, quick ones first, and counts."""

import sys
import time

import documents
import guards
import lifecycle
import monitoring
import served
import suites
import workflows
from tools import Counts

GROUPS = {
    "documents": documents.run_all,
    "guards": guards.run_all,
    "suites": suites.run_all,
    "lifecycle": lifecycle.run_all,
    "monitoring": monitoring.run_all,
    "served": served.run_all,
    "workflows": workflows.run_all,
}


def main(arguments):
    if "--update" in arguments:
        documents.update()
        arguments.remove("--update")
    unknown = [name for name in arguments if name not in GROUPS]
    if unknown:
        sys.exit(f"no such group: {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    for name, group in GROUPS.items():
        if not arguments or name in arguments:
            started = time.monotonic()
            print(f"== {name}")
            group()
            print(f"   {time.monotonic() - started:.1f} s")
    print(f"{Counts.passed} passed, {Counts.failed} failed, {Counts.skipped} skipped")
    return 1 if Counts.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
