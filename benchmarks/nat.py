"""
How two peers behind NAT routers meet: ours, and JavaScript ones, in every pair of roles.

    ./check tests.interop                          # once: installs Node and the JavaScript packages
    .venv/bin/python benchmarks/nat.py             # the whole matrix, as root, with ip and nft
    .venv/bin/python benchmarks/nat.py --runs 5 consistent/random random/consistent

For each pair of kinds of routers, the client's before the slash, a laboratory of network namespaces is built
(``tests/interop/natlab.py``), in which each client connects to each server in turn, and so again as often as is asked
for: so all meet the same noise.  What counts is the time from the call of connect to the open connection, as the client
measures it.  The median is told, the slowest of the runs, and what has failed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # what is measured is this checkout, whatever is installed

from tests.interop.dht_support import each  # noqa: E402
from tests.interop.nat_support import GRACE, HOPELESS, OURS, THEIRS, TOGETHER, Meeting, NatNetwork, meet  # noqa: E402
from tests.interop.natlab import why_not  # noqa: E402

#: Client and server.
Who = tuple[str, str]
PAIRS: tuple[Who, ...] = ((THEIRS, THEIRS), (OURS, OURS), (OURS, THEIRS), (THEIRS, OURS))
ALL = [f"{a}/{b}" for a, b in [*TOGETHER, HOPELESS]]


async def attempt(network: NatNetwork, client: str, server: str) -> Meeting:
    """Fresh peers, which know nothing of what went before."""
    asking, serving = await each([network.peer("a", client), network.peer("b", server)])
    try:
        return await meet(asking, await serving.listen())
    finally:
        await each([asking.process.stop(GRACE), serving.process.stop(GRACE)])


async def measure(kinds: str, pairs: Sequence[Who], runs: int, reject: bool) -> dict[Who, list[Meeting]]:
    """:returns: what has come of it for each pair of client and server."""
    a, b = kinds.split("/")
    meetings: dict[Who, list[Meeting]] = {pair: [] for pair in pairs}
    for _ in range(runs):
        network = NatNetwork(a, b, reject=reject)
        try:
            await network.start()
            for pair in pairs:
                meetings[pair].append(await attempt(network, *pair))
        finally:
            await network.close()
    return meetings


def summary(meetings: list[Meeting]) -> str:
    """:returns: median and maximum of those that came about, and how the others failed."""
    times = [each.seconds for each in meetings if each.code is None]
    codes = Counter(each.code for each in meetings if each.code is not None)
    words = [f"{statistics.median(times):.2f} ({max(times):.2f})"] if times else []
    return ", ".join(words + [f"{count} x {code}" for code, count in codes.items()])


async def main(reactor: Any, options: argparse.Namespace) -> None:
    """Print the table, line by line."""
    pairs = PAIRS[: options.pairs]
    titles = [f"{client} to {server}" for client, server in pairs]
    print("seconds: median (slowest)  |  " + "  |  ".join(titles), flush=True)
    for kinds in options.kinds or ALL:
        meetings = await measure(kinds, pairs, options.runs, options.reject)
        print(f"{kinds:22}  |  " + "  |  ".join(summary(meetings[pair]) for pair in pairs), flush=True)


def parse() -> argparse.Namespace:
    """:returns: the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND/KIND", help="only these pairs of routers")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=len(PAIRS), help="2: leave those with one of each kind out")
    parser.add_argument("--reject", action="store_true", help="routers that answer, and remember, who knocks too early")
    options = parser.parse_args()
    if reason := why_not():
        parser.error(reason)
    return options


if __name__ == "__main__":
    options = parse()
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, options)))
