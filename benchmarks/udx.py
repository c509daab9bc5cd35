"""
UDX by itself, ours and ``udx-native`` on identical work, and the ratio of what it costs them.

    ./check tests.interop                         # once: installs Node and the JavaScript packages
    .venv/bin/python benchmarks/udx.py            # everything; --help for less of it

*Transfers*: a source and a sink, each in a process of its own, 64 KiB a write, on the loopback interface: each kind to
each kind, in turn.  CPU time is that of a process between the first data that the sink sees and the last, from /proc,
for both sides alike.  *Round trips*: 64 bytes to an echo and back, one after the other.  *Memory*: both ends of many
streams in one process, over two sockets, after each has carried 64 bytes each way.  Ratios are ours to theirs, of the
medians over the runs; for costs **below 1 is better**, for the throughput above.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # what is measured is this checkout, whatever is installed

from benchmarks.ratios import Figures, Row, options, print_table  # noqa: E402
from benchmarks.udx_ends import OURS, THEIRS, Ends  # noqa: E402

#: Bytes of a transfer, round trips, and pairs of idle streams, at scale 1.
BYTES, PINGS, IDLE = 600_000_000, 10_000, 2_000
#: Bytes of a round trip.
SIZE = 64

BOTH = {OURS: f"{OURS} to {OURS}", THEIRS: f"{THEIRS} to {THEIRS}"}
SEND, RECEIVE, SIDE, RATE = "CPU s/GB to send", "CPU s/GB to receive", "CPU s/GB a side", "MB/s"
P50, P99, MEMORY = "p50 us", "p99 us", "KiB"
ROWS = (
    Row("sending to udx-native, CPU s/GB", (SEND, BOTH[THEIRS]), (SEND, f"{OURS} to {THEIRS}"), 1.0, 0.6),
    Row("receiving from udx-native, CPU s/GB", (RECEIVE, BOTH[THEIRS]), (RECEIVE, f"{THEIRS} to {OURS}"), 1.0, 0.5),
    Row("ours to ours, MB/s", (RATE, BOTH[THEIRS]), (RATE, BOTH[OURS]), 2.0, 4.0, True),
    Row("ours to ours, CPU s/GB a side", (SIDE, BOTH[THEIRS]), (SIDE, BOTH[OURS]), 0.5, 0.15),
    Row("ours to udx-native, MB/s", (RATE, BOTH[THEIRS]), (RATE, f"{OURS} to {THEIRS}"), more_is_better=True),
    Row("udx-native to ours, MB/s", (RATE, BOTH[THEIRS]), (RATE, f"{THEIRS} to {OURS}"), more_is_better=True),
    Row("round trip of 64 bytes, p50 us", (P50, BOTH[THEIRS]), (P50, BOTH[OURS]), 1.5, 1.0),
    Row("round trip of 64 bytes, p99 us", (P99, BOTH[THEIRS]), (P99, BOTH[OURS]), 1.5, 1.0),
    Row("the same, to udx-native, p50 us", (P50, BOTH[THEIRS]), (P50, f"{OURS} to {THEIRS}")),
    Row("memory of an idle stream, KiB", (MEMORY, THEIRS), (MEMORY, OURS), 1.0, 0.5),
)


def transfer(ends: Ends, source: str, sink: str, count: int) -> dict[str, float]:
    """:returns: the figures of one transfer."""
    with (
        ends.accepting(sink, "--mode", "sink", "--no-hash") as (reading, port),
        ends.connecting(source, port, "--mode", "source", "--no-hash", "--bytes", count) as writing,
    ):
        reading.event("first-data")
        began, before = time.perf_counter(), [writing.cpu(), reading.cpu()]
        received = reading.event("end")["received"]
        seconds, after = time.perf_counter() - began, [writing.cpu(), reading.cpu()]
    if received != count:
        sys.exit(f"{source} to {sink}: {received} of {count} bytes")
    send, receive = ((then - now) / count * 1e9 for now, then in zip(before, after, strict=True))
    return {SEND: send, RECEIVE: receive, SIDE: (send + receive) / 2, RATE: count / seconds / 1e6}


def ping(ends: Ends, near: str, far: str, count: int) -> dict[str, float]:
    """:returns: microseconds of round trips."""
    with (
        ends.accepting(far, "--mode", "echo", "--no-hash") as (_, port),
        ends.connecting(near, port, "--mode", "ping", "--count", count, "--size", SIZE) as asking,
    ):
        times = asking.event("pinged")
    return {P50: times["p50_us"], P99: times["p99_us"]}


def idle(ends: Ends, kind: str, count: int) -> dict[str, float]:
    """:returns: KiB of one end of an idle stream."""
    with ends.end(kind, "idle", count) as crowd:
        crowd.event("warm")
        before = crowd.memory()
        crowd.event("idle")
        return {MEMORY: (crowd.memory() - before) / (2 * count) / 1024}


def measure(ends: Ends, runs: int, scale: float) -> Figures:
    """All of it, the two kinds taking turns."""
    figures: Figures = defaultdict(list)

    def note(kind: str, found: dict[str, float]) -> None:
        for name, figure in found.items():
            figures[name, kind].append(figure)

    for _ in range(runs):
        for source in (THEIRS, OURS):
            for sink in (THEIRS, OURS):
                note(f"{source} to {sink}", transfer(ends, source, sink, int(BYTES * scale)))
        for near, far in ((THEIRS, THEIRS), (OURS, THEIRS), (OURS, OURS)):
            note(f"{near} to {far}", ping(ends, near, far, max(int(PINGS * scale), 100)))
        for kind in (THEIRS, OURS):
            note(kind, idle(ends, kind, max(int(IDLE * scale), 100) // 100 * 100))
    return figures


def main() -> None:
    wanted = options(__doc__)
    figures = measure(Ends(wanted.node), wanted.runs, wanted.scale)
    print_table(THEIRS, ROWS, figures, wanted.runs, wanted.scale)


if __name__ == "__main__":
    main()
