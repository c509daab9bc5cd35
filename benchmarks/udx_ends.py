"""Ends of streams in processes of their own, ours and those of ``udx-native``: for the benchmarks of UDX."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Any

HERE = Path(__file__).parent
INTEROP = HERE.parent / "tests" / "interop"
#: Seconds after which an end is given up.
PATIENCE = 300.0
#: What the two kinds are called.
OURS, THEIRS = "ours", "udx-native"


class EndedError(Exception):
    """The process has ended, or was given up, before it said what was waited for."""


class End:
    """A running process that prints an event a line."""

    def __init__(self, command: list[str], patience: float) -> None:
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=INTEROP)
        self._watchdog = Timer(patience, self._process.kill)
        self._watchdog.daemon = True
        self._watchdog.start()
        self._command = command

    def event(self, name: str) -> dict[str, Any]:
        """
        Wait for an event; others before it are dropped.

        :raises EndedError: it will not come.
        """
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event: dict[str, Any] = json.loads(line)
            if event["event"] == name:
                return event
        raise EndedError(f"ended before {name!r}: {' '.join(self._command)}")

    def cpu(self) -> float:
        """:returns: seconds of user and system time of all its threads so far."""
        tasks = Path(f"/proc/{self._process.pid}/task")
        return sum(int((each / "schedstat").read_text().split()[0]) for each in tasks.iterdir()) / 1e9

    def memory(self) -> int:
        """:returns: bytes resident."""
        pages = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGESIZE")

    def stop(self) -> None:
        """End it, whatever it does."""
        self._watchdog.cancel()
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


class Ends:
    """Starts them."""

    def __init__(self, node: str, patience: float = PATIENCE) -> None:
        """
        :param node: the Node.js program.
        :param patience: seconds that an end may take for everything.
        """
        self._patience = patience
        self._programs = {
            OURS: {
                "peer": [sys.executable, str(HERE / "udx_peer.py")],
                "idle": [sys.executable, str(HERE / "udx_idle.py")],
            },
            THEIRS: {
                "peer": [node, str(INTEROP / "udx_peer.js")],
                "ping": [node, str(INTEROP / "udx_bench.js"), "ping"],
                "idle": [node, "--expose-gc", str(INTEROP / "udx_bench.js"), "idle"],
            },
        }

    @contextmanager
    def end(self, kind: str, program: str, *arguments: object) -> Iterator[End]:
        """
        One process.

        :param kind: whose.
        :param program: ``peer``, ``ping`` or ``idle``.
        """
        end = End([*self._programs[kind][program], *map(str, arguments)], self._patience)
        try:
            yield end
        finally:
            end.stop()

    @contextmanager
    def accepting(self, kind: str, *arguments: object) -> Iterator[tuple[End, int]]:
        """One that waits for the first packet, and its port."""
        with self.end(kind, "peer", *arguments, "--local-id", 2, "--remote-id", 1) as end:
            yield end, end.event("bound")["port"]

    @contextmanager
    def connecting(self, kind: str, port: int, *arguments: object) -> Iterator[End]:
        """One that sends it."""
        if "ping" in arguments and kind == THEIRS:
            with self.end(kind, "ping", port, *arguments[arguments.index("ping") + 1 :]) as end:
                yield end
            return
        numbers = ("--local-id", 1, "--remote-id", 2, "--remote-port", port)
        with self.end(kind, "peer", *arguments, *numbers) as end:
            yield end
