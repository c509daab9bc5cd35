"""
How fast UDX recovers on bad paths: ours against ``udx-native``, and that against itself, under the same seed.

    ./check tests.interop                               # once: installs Node and the JavaScript packages
    .venv/bin/python benchmarks/udx_lossy.py            # everything; --help for less of it

A source and a sink talk through ``tests/interop/lossy_udp.py``, which delays, loses, reorders and repeats datagrams,
carries no more than so many bytes a second, and does the same to the n-th datagram of a direction for the same seed.
The time is that from the first datagram that the relay sees until the sink has everything.  The ratio is taken for each
seed, and its median over the seeds is printed: **below 1 is better**.
"""

from __future__ import annotations

import argparse
import math
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # what is measured is this checkout, whatever is installed

from benchmarks.proxy import machine  # noqa: E402
from benchmarks.udx_ends import OURS, THEIRS, EndedError, Ends  # noqa: E402
from tests.interop.lossy_udp import LossyRelay  # noqa: E402

#: Bytes that may stand in front of a path that carries no more.
QUEUE = 256 << 10
#: Seconds after which a transfer is given up.
PATIENCE = 60.0
#: The most that the ratios may be: of ours sending, of ours receiving.
SENDING, RECEIVING = 1.0, 1.1

#: Says what becomes of a datagram: see ``lossy_udp.py``.
Hook = Callable[[str, int, bytes], bool | None]


def nothing_special() -> Hook | None:
    """All datagrams are treated alike."""
    return None


def swallow_large() -> Hook:
    """Datagrams over 1,250 bytes do not arrive."""
    return lambda direction, index, data: False if len(data) > 1250 else None


def blackout(after: int = 500, seconds: float = 8.0) -> Hook:
    """After so many datagrams nothing arrives for so long, whichever way."""
    began: list[float] = []

    def hook(direction: str, index: int, data: bytes) -> bool | None:
        if not began and direction == "a2b" and index >= after:
            began.append(time.monotonic())
        return False if began and time.monotonic() - began[0] < seconds else None

    return hook


@dataclass(frozen=True)
class BadPath:
    """A path, and how much is sent over it."""

    name: str
    impairment: dict[str, float] = field(default_factory=dict)
    hook: Callable[[], Hook | None] = nothing_special
    bytes: int = 6_000_000


PATHS = (
    BadPath("nothing", {"delay": 10}),
    BadPath("0.1 % lost", {"delay": 10, "loss": 0.1}),
    BadPath("1 % lost", {"delay": 10, "loss": 1}),
    BadPath("5 % lost", {"delay": 10, "loss": 5}),
    BadPath("2 % 5 ms late", {"delay": 10, "reorder": 2}),
    BadPath("2 % twice", {"delay": 10, "dup": 2}),
    BadPath("1 % lost, late, twice", {"delay": 10, "loss": 1, "reorder": 1, "dup": 1}),
    BadPath("1 ms", {"delay": 1}),
    BadPath("50 ms", {"delay": 50}),
    BadPath("200 ms", {"delay": 200}),
    BadPath("200 ms, 1 % lost", {"delay": 200, "loss": 1}),
    BadPath("over 1,250 bytes lost", {"delay": 10}, swallow_large),
    BadPath("nothing for 8 s", {"delay": 10}, blackout, 3_000_000),
)


def transfer(ends: Ends, source: str, sink: str, path: BadPath, seed: int, scale: float, rate: float) -> float:
    """
    One transfer.

    :param scale: so much of the path's bytes.
    :param rate: bytes a second that the path carries; 0 for as many as the relay can.
    :returns: seconds; infinite where it did not arrive.
    """
    count = int(path.bytes * scale)
    first: list[float] = []

    def note(direction: str, index: int, now: float, data: bytes) -> None:
        if not first:
            first.append(now)

    with ends.accepting(sink, "--mode", "sink") as (reading, port):
        settings = {"rate": rate, "queue": QUEUE, "seed": seed, "hook": path.hook(), "record": note}
        with (
            LossyRelay(b_addr=("127.0.0.1", port), **settings, **path.impairment) as relay,
            ends.connecting(source, relay.port_a, "--mode", "source", "--bytes", count),
        ):
            try:
                received = reading.event("end")["received"]
            except EndedError:
                return math.inf
            return time.monotonic() - first[0] if received == count else math.inf


def compare(ends: Ends, path: BadPath, seeds: range, scale: float, rate: float) -> str:
    """:returns: a line of the table."""
    pairs = ((THEIRS, THEIRS), (OURS, THEIRS), (THEIRS, OURS), (OURS, OURS))
    times: list[list[float]] = [[transfer(ends, *pair, path, seed, scale, rate) for pair in pairs] for seed in seeds]
    cells = [f"{statistics.median(column):.2f}" for column in zip(*times, strict=True)]
    sending = statistics.median(run[1] / run[0] for run in times)
    receiving = statistics.median(run[2] / run[0] for run in times)
    verdict = "ok" if sending <= SENDING and receiving <= RECEIVING else "missed"
    ratios = [f"{ratio:.2f}" for ratio in (sending, receiving)]
    return "| " + " | ".join([path.name, *cells, *ratios, verdict]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="how many (default: 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="so much of the data (default: 1)")
    parser.add_argument("--rate", type=float, default=4e6, help="bytes a second; 0 for all that the relay can")
    parser.add_argument("--paths", default="", help="beginnings of their names, with semicolons between")
    parser.add_argument("--node", default=shutil.which("node") or "node", help="the Node.js program")
    options = parser.parse_args()
    ends = Ends(options.node, PATIENCE)
    wanted = tuple(name for name in options.paths.split(";") if name)
    print(f"{machine()}; {options.seeds} seeds, scale {options.scale:g}, {options.rate:g} bytes/s; medians\n")
    kinds = ("theirs to theirs, s", "ours to theirs, s", "theirs to ours, s", "ours to ours, s")
    header = ("path", *kinds, f"sending (must {SENDING:g})", f"receiving (must {RECEIVING:g})", "")
    print("| " + " | ".join(header) + " |\n" + "| --- " * len(header) + "|", flush=True)
    for path in PATHS:
        if not wanted or path.name.startswith(wanted):
            print(compare(ends, path, range(1, options.seeds + 1), options.scale, options.rate), flush=True)


if __name__ == "__main__":
    main()
