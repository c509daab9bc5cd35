"""The body of ``./check``: runs the checks one after the other, shows their output, and adds up what they found."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import NamedTuple

#: The last line of trial's report, ``FAILED (skips=1, failures=2, successes=3)``; what is 0 is left out.
SUMMARY = re.compile(r"(?:PASSED|FAILED)(?: \((?P<counts>[\w=, ]+)\))?$")


class Tally(NamedTuple):
    """How many checks, or tests, went which way."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def plus(self, other: Tally) -> Tally:
        return Tally(*map(sum, zip(self, other, strict=True)))

    def __str__(self) -> str:
        text = f"{self.passed} passed, {self.failed} failed"
        return f"{text}, {self.skipped} skipped" if self.skipped else text


def read_summary(lines: Iterable[str]) -> Tally | None:
    """
    What trial counted.

    :param lines: its output.
    :returns: ``None`` if there is no summary in it: trial did not get that far.
    """
    tally = None
    for line in lines:
        if match := SUMMARY.match(line.rstrip()):
            pairs = (pair.split("=") for pair in (match["counts"] or "").split(", ") if pair)
            counts = {name: int(value) for name, value in pairs}
            tally = Tally(
                counts.get("successes", 0),
                sum(counts.get(name, 0) for name in ("failures", "errors", "unexpectedSuccesses")),
                counts.get("skips", 0) + counts.get("expectedFailures", 0),
            )
    return tally


def judge(tally: Tally | None, status: int) -> Tally:
    """
    The result of a test run: one failure at least where something is wrong that was not counted as such.

    :param tally: what trial counted, if it did.
    :param status: what it exited with.
    """
    if tally is None or not (tally.passed or tally.failed) or (status and not tally.failed):
        return (tally or Tally()).plus(Tally(failed=1))
    return tally


def run_command(title: str, *arguments: str) -> Tally:
    """Run a Python module that either finds nothing to complain about or fails."""
    print(f"== {title}", flush=True)
    status = subprocess.run([sys.executable, "-m", *arguments]).returncode
    return Tally(failed=1) if status else Tally(passed=1)


def run_tests(names: list[str], environment: Mapping[str, str]) -> Tally:
    """Run tests with trial, as many at a time as there are processors."""
    print("== tests", flush=True)
    command = [sys.executable, "-m", "twisted.trial", "--reporter=text", f"--jobs={os.cpu_count() or 1}", *names]
    lines = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment
    ) as trial:
        assert trial.stdout is not None
        for line in trial.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    return judge(read_summary(lines), trial.returncode)


def check(names: list[str], fast: bool) -> Tally:
    """
    :param names: only these tests and nothing else, if there are any.
    :param fast: leave the JavaScript peers out.
    """
    if names:
        return run_tests(names, os.environ)
    tally = run_command("lint", "ruff", "check", ".").plus(run_command("types", "mypy"))
    if not fast and run_command("JavaScript peers", "tests.interop.javascript").failed:
        tally = tally.plus(Tally(failed=1))
    interop = "skip" if fast else "require"
    return tally.plus(run_tests(["tests"], {**os.environ, "INTEROP": interop}))


def main() -> int:
    parser = argparse.ArgumentParser(prog="./check", description="Lint, types and all tests.")
    parser.add_argument("--fast", action="store_true", help="leave out the tests that need JavaScript")
    parser.add_argument("names", nargs="*", metavar="TEST", help="run only these, such as tests.proxy.test_wire")
    options = parser.parse_args()
    tally = check(options.names, options.fast)
    print(tally)
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
