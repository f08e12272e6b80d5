"""Run every check of the house, the quick ones first; stop at the first that fails.

    python scripts/check.py           lint, types, layers, tests without the slow ones
    python scripts/check.py --slow    the slow tests as well; CI=true in the environment does it too

Needs the extra: pip install '.[test]'. Run it with the interpreter of that environment.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORKERS = min(2, os.cpu_count() or 1)


def checks(slow: bool) -> dict[str, list[str]]:
    """Name every check and its command."""
    python = [sys.executable, "-m"]
    layers = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    # Tests of one file share what is dear to make, so a file stays with one worker.
    tests = [*python, "pytest", "-n", str(WORKERS), "--dist", "loadfile"]
    return {
        "lint": [*python, "ruff", "check", "."],
        "format": [*python, "ruff", "format", "--check", "."],
        "types": [*python, "mypy"],
        # Its cache keeps the imports of a module whose target has appeared since.
        "scripts": [
            str(Path(sysconfig.get_path("scripts"), "oxlint")),
            "--deny-warnings",
            "planner",
        ],
        "layers": [sys.executable, "-c", layers, "--no-cache"],
        "tests": tests if slow else [*tests, "-m", "not slow"],
    }


def main() -> int:
    """Run the checks; returns the first exit status that is not 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slow", action="store_true", help="run the slow tests as well")
    slow = parser.parse_args().slow or os.environ.get("CI", "").lower() in ("1", "true")
    for name, command in checks(slow).items():
        print(f"== {name}", flush=True)
        start = time.perf_counter()
        status = subprocess.run(command, cwd=ROOT, check=False).returncode
        print(f"== {name}: {'failed' if status else 'passed'}", end=" ")
        print(f"in {time.perf_counter() - start:.0f} s", flush=True)
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
