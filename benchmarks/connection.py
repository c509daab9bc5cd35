"""
Encrypted connections over a DHT, ours and those of ``hyperdht``, on identical work, and the ratio of what they cost.

    ./check tests.interop                                # once: installs Node and the JavaScript packages
    .venv/bin/python benchmarks/connection.py            # everything; --help for less of it

The network is ``hyperdht``'s for both: seven nodes on the loopback interface, in a process of their own.  *Bulk*: 64
KiB a write, each kind to each kind, in turn; CPU time is that of a process from the opening of the connection until
both sides have ended, from /proc.  *Cycles*: connect, say a byte, hear it back, end.  *Memory*: a client's and a
server's end of connections that do nothing, keep-alives apart.  Ratios are ours to theirs, of the medians over the
runs; for costs **below 1 is better**, for the throughput and the rate above.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # what is measured is this checkout, whatever is installed

from benchmarks.ratios import Figures, Row, options, print_table  # noqa: E402
from benchmarks.udx_ends import INTEROP, PATIENCE, End  # noqa: E402

OURS, THEIRS = "ours", "hyperdht"
#: Bytes of a transfer, round trips, connections one after the other and eight at a time, idle ones; at scale 1.
BYTES, PINGS, CYCLES, IDLE = 400_000_000, 5_000, 400, 500
NODES = 7

BOTH = {OURS: f"{OURS} to {OURS}", THEIRS: f"{THEIRS} to {THEIRS}"}
SEND, RECEIVE, SIDE, RATE = "CPU s/GB to send", "CPU s/GB to receive", "CPU s/GB a side", "MB/s"
P50, P99, OPENED, OPENED_CPU, MEMORY = "p50 us", "p99 us", "a second", "CPU ms a side", "KiB"
ROWS = (
    Row("sending to hyperdht, CPU s/GB", (SEND, BOTH[THEIRS]), (SEND, f"{OURS} to {THEIRS}"), 1.0, 0.5),
    Row("receiving from hyperdht, CPU s/GB", (RECEIVE, BOTH[THEIRS]), (RECEIVE, f"{THEIRS} to {OURS}"), 1.0, 0.5),
    Row("ours to ours, MB/s", (RATE, BOTH[THEIRS]), (RATE, BOTH[OURS]), 2.0, 4.0, True),
    Row("ours to ours, CPU s/GB a side", (SIDE, BOTH[THEIRS]), (SIDE, BOTH[OURS]), 0.5, 0.25),
    Row("round trip of 64 bytes, p50 us", (P50, BOTH[THEIRS]), (P50, BOTH[OURS]), 1.5, 1.0),
    Row("round trip of 64 bytes, p99 us", (P99, BOTH[THEIRS]), (P99, BOTH[OURS]), 1.5, 1.0),
    Row("connections, 1 at a time, a second", (f"{OPENED}, 1", THEIRS), (f"{OPENED}, 1", OURS), 1.0, 1.5, True),
    Row("connections, 8 at a time, a second", (f"{OPENED}, 8", THEIRS), (f"{OPENED}, 8", OURS), 1.0, 1.5, True),
    Row("a connection, CPU ms a side", (OPENED_CPU, THEIRS), (OPENED_CPU, OURS), 1.0, 0.5),
    Row("memory of an idle connection, KiB", (MEMORY, THEIRS), (MEMORY, OURS), 1.0, 0.5),
)


class Ends:
    """Starts ends in a network."""

    def __init__(self, node: str, network: str) -> None:
        """
        :param node: the Node.js program.
        :param network: where it begins.
        """
        self._network = network
        self._programs = {
            OURS: [sys.executable, str(HERE / "connection_end.py")],
            THEIRS: [node, str(INTEROP / "connection_bench.js")],
        }

    @contextmanager
    def end(self, kind: str, task: str, *arguments: object) -> Iterator[End]:
        """One process."""
        end = End([*self._programs[kind], task, self._network, *map(str, arguments)], PATIENCE)
        try:
            yield end
        finally:
            end.stop()

    @contextmanager
    def pair(self, client: str, server: str, task: str, *arguments: object) -> Iterator[tuple[End, End]]:
        """A client at its task, and the server."""
        with self.end(server, "serve") as serving:
            key = serving.event("listening")["publicKey"]
            with self.end(client, task, key, *arguments) as asking:
                yield asking, serving


def bulk(ends: Ends, client: str, server: str, count: int) -> dict[str, float]:
    """:returns: the figures of one transfer."""
    with ends.pair(client, server, "bulk", count) as (writing, reading):
        writing.event("open")
        began, before = time.perf_counter(), [writing.cpu(), reading.cpu()]
        writing.event("done")
        seconds, after = time.perf_counter() - began, [writing.cpu(), reading.cpu()]
    send, receive = ((then - now) / count * 1e9 for now, then in zip(before, after, strict=True))
    return {SEND: send, RECEIVE: receive, SIDE: (send + receive) / 2, RATE: count / seconds / 1e6}


def ping(ends: Ends, kind: str, count: int) -> dict[str, float]:
    """:returns: microseconds of round trips."""
    with ends.pair(kind, kind, "ping", count) as (asking, _):
        times = asking.event("pinged")
    return {P50: times["p50_us"], P99: times["p99_us"]}


def cycles(ends: Ends, kind: str, count: int, parallel: int) -> dict[str, float]:
    """:returns: how many connections a second, and what one costs."""
    with ends.pair(kind, kind, "cycles", count, parallel) as (asking, serving):
        asking.event("ready")
        began, before = time.perf_counter(), asking.cpu() + serving.cpu()
        asking.event("done")
        seconds, used = time.perf_counter() - began, asking.cpu() + serving.cpu() - before
    return {f"{OPENED}, {parallel}": count / seconds, OPENED_CPU: used / count / 2 * 1e3}


def idle(ends: Ends, kind: str, count: int) -> dict[str, float]:
    """:returns: KiB of one end of an idle connection."""
    with ends.pair(kind, kind, "idle", count) as (asking, serving):
        asking.event("warm")
        before = asking.memory() + serving.memory()
        asking.event("idle")
        return {MEMORY: (asking.memory() + serving.memory() - before) / (2 * count) / 1024}


def measure(ends: Ends, runs: int, scale: float) -> Figures:
    """All of it, the two kinds taking turns."""
    figures: Figures = defaultdict(list)

    def note(kind: str, found: dict[str, float]) -> None:
        for name, figure in found.items():
            figures[name, kind].append(figure)

    for _ in range(runs):
        for client in (THEIRS, OURS):
            for server in (THEIRS, OURS):
                note(f"{client} to {server}", bulk(ends, client, server, int(BYTES * scale)))
        for kind in (THEIRS, OURS):
            note(BOTH[kind], ping(ends, kind, max(int(PINGS * scale), 100)))
            for parallel in (1, 8):
                note(kind, cycles(ends, kind, max(int(CYCLES * scale), 20), parallel))
            note(kind, idle(ends, kind, max(int(IDLE * scale), 50)))
    return figures


@contextmanager
def network(node: str) -> Iterator[str]:
    """A network of theirs; where it begins."""
    command = [node, str(INTEROP / "testnet.js"), str(NODES)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=INTEROP) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())["bootstrap"][0]
        try:
            yield f"{first['host']}:{first['port']}"
        finally:
            process.terminate()


def main() -> None:
    wanted = options(__doc__)
    with network(wanted.node) as begins:
        figures = measure(Ends(wanted.node, begins), wanted.runs, wanted.scale)
    print_table(THEIRS, ROWS, figures, wanted.runs, wanted.scale)


if __name__ == "__main__":
    main()
