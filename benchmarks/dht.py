"""
Our DHT node and the JavaScript one on identical work, and the ratio of what it costs them.

    ./check tests.interop                         # once: installs Node and the JavaScript packages
    .venv/bin/python benchmarks/dht.py            # everything; --help for a part of it, or less of it

*Answering*: ``dht_load.c`` (compiled on first use) keeps 64 requests under way to one node of a network of 25 in one
process.  Theirs is ``hyperdht`` on Node, ours the same network of ``DHTNode``.  What counts is the CPU time of that
process, from /proc; the two take turns.  *Asking*: one client of each kind makes lookups of random topics on the same
network of 20 JavaScript nodes.  Ratios are ours / JavaScript, so **below 1 is better**.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))  # what is measured is this checkout, whatever is installed

from twisted.internet import reactor, task  # noqa: E402

from benchmarks.proxy import build, machine  # noqa: E402
from spaceswarm_proxy.crypto.keys import KeyPair  # noqa: E402
from spaceswarm_proxy.dht.commands import FIND_NODE, LOOKUP, PING  # noqa: E402
from spaceswarm_proxy.dht.contact import address_of  # noqa: E402
from spaceswarm_proxy.dht.message import Command, encode_request  # noqa: E402
from spaceswarm_proxy.interfaces import HostPort  # noqa: E402
from spaceswarm_proxy.peering.node import DHTNode  # noqa: E402

INTEROP = ROOT / "tests" / "interop"
PROFILE = "hyperswarm"
TOPIC = bytes(range(32))
#: Records under the topic: as many as fit into an answer.
RECORDS = 20
NODES, LOOKUP_NODES = 25, 20
#: Seconds for one run of the generator, or of a client.
RUN = 120


@dataclass(frozen=True)
class Work:
    """A request that is made over and over."""

    name: str
    command: Command
    must: float
    aim: float


WORKS = (
    Work("PING", Command.make(True, PING), 1.0, 0.65),
    Work("FIND_NODE", Command.make(True, FIND_NODE, TOPIC), 1.0, 0.6),
    Work(f"LOOKUP of {RECORDS} records", Command.make(False, LOOKUP, TOPIC), 0.8, 0.5),
)


@dataclass(frozen=True)
class Network:
    """A network in a process of its own."""

    process: subprocess.Popen[str]
    nodes: tuple[HostPort, ...]

    def cpu(self) -> float:
        """:returns: seconds of all its threads so far."""
        tasks = Path(f"/proc/{self.process.pid}/task")
        return sum(int((each / "schedstat").read_text().split()[0]) for each in tasks.iterdir()) / 1e9

    def memory(self) -> float:
        """:returns: MB resident."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1000


@contextmanager
def network(command: list[str]) -> Iterator[Network]:
    """Start one, and stop it in the end."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=INTEROP) as process:
        assert process.stdin is not None and process.stdout is not None
        ready = json.loads(process.stdout.readline())
        try:
            yield Network(process, tuple(HostPort(node["host"], node["port"]) for node in ready["nodes"]))
        finally:
            process.stdin.close()
            process.wait()


async def announce(net: Network) -> None:
    """Fill the topic."""
    node = DHTNode(reactor, profile=PROFILE, bootstrap=net.nodes[:1], host="127.0.0.1", port=0, ephemeral=True)
    await node.ready()
    for number in range(RECORDS):
        relays = net.nodes[:3]
        await node.announce(TOPIC, KeyPair.from_seed(bytes([number]) * 32), relays).finished()
    await node.close()


def load(program: Path, net: Network, work: Work, count: int, outstanding: int) -> float:
    """:returns: CPU us of the answering process for each request."""
    target = net.nodes[NODES // 2]
    request = encode_request(work.command, b"\x00\x00", address_of(*target), None, None)
    began = net.cpu()
    arguments = [program, str(target.port), str(count), str(outstanding), request.hex()]
    result = json.loads(subprocess.run(arguments, capture_output=True, text=True, timeout=RUN, check=True).stdout)
    if result["wrong"] or result["lost"] > count / 100:
        sys.exit(f"{work.name}: {result}")
    return (net.cpu() - began) / count * 1e6


async def answering(program: Path, node: str, options: argparse.Namespace) -> list[str]:
    """:returns: the rows of the table."""
    commands = (
        [node, str(INTEROP / "testnet.js"), str(NODES), "--profile", PROFILE],
        [sys.executable, str(HERE / "dht_testnet.py"), str(NODES)],
    )
    figures: dict[str, list[list[float]]] = {}
    with network(commands[0]) as theirs, network(commands[1]) as ours:
        both = (theirs, ours)
        for net in both:
            await announce(net)
        count = int(100_000 * options.scale)
        for _ in range(options.runs + 1):  # the first one warms both up
            for work in WORKS:
                for which, net in enumerate(both):
                    cost = load(program, net, work, count, options.outstanding)
                    figures.setdefault(work.name, [[], []])[which].append(cost)
        memory = [net.memory() for net in both]
    rows = []
    for work in WORKS:
        a, b = (statistics.median(each[1:]) for each in figures[work.name])
        rows.append(row(f"{work.name}, CPU us", a, b, work.must, work.aim))
    return [*rows, row(f"{NODES} nodes in one process, after that, MB", *memory, 0.7, 0.5)]


def row(title: str, theirs: float, ours: float, must: float, aim: float) -> str:
    ratio = ours / theirs
    verdict = "aim reached" if ratio <= aim else "ok" if ratio <= must else f"over {must:g}"
    return f"| {title} | {theirs:.3g} | {ours:.3g} | {ratio:.2f} | {must:g} | {aim:g} | {verdict} |"


async def our_lookups(net: Network, count: int) -> tuple[list[float], list[float]]:
    """:returns: milliseconds and requests of each."""
    node = DHTNode(reactor, profile=PROFILE, bootstrap=net.nodes[:1], host="127.0.0.1", port=0, ephemeral=True)
    await node.ready()
    milliseconds, requests = [], []
    for _ in range(count):
        before, began = node.stats.requests_sent, reactor.seconds()
        await node.lookup(os.urandom(32)).finished()
        milliseconds.append((reactor.seconds() - began) * 1000)
        requests.append(float(node.stats.requests_sent - before))
    await node.close()
    return milliseconds, requests


def their_lookups(node: str, net: Network, count: int) -> tuple[list[float], list[float]]:
    """:returns: milliseconds and requests of each."""
    arguments = [node, str(INTEROP / "dht_lookups.js"), str(count), "--profile", PROFILE]
    arguments += ["--bootstrap", str(net.nodes[0])]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=RUN, check=True, cwd=INTEROP)
    result = json.loads(done.stdout.splitlines()[-1])
    return result["milliseconds"], result["requests"]


async def asking(node: str, options: argparse.Namespace) -> list[str]:
    """:returns: the rows of the table."""
    theirs: list[list[float]] = [[], []]
    ours: list[list[float]] = [[], []]
    with network([node, str(INTEROP / "testnet.js"), str(LOOKUP_NODES), "--profile", PROFILE]) as net:
        count = max(int(200 * options.scale), 10)
        for _ in range(options.runs):
            for figures, lists in ((their_lookups(node, net, count), theirs), (await our_lookups(net, count), ours)):
                for figure, into in zip(figures, lists, strict=True):
                    into.extend(figure[count // 10 :])
    medians: list[Any] = [statistics.median(figure) for figure in (*theirs, *ours)]
    return [
        row("a lookup among 20 nodes, median ms", medians[0], medians[2], 1.0, 0.8),
        row("requests that it sends, median", medians[1], medians[3], 1.0, 0.6),
    ]


async def compare(_: Any, options: argparse.Namespace) -> None:
    program = build("dht_load.c")
    try:
        for line in await answering(program, options.node, options):
            print(line, flush=True)
    finally:
        shutil.rmtree(program.parent)
    for line in await asking(options.node, options):
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="the median of so many (default: 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="so much of the work (default: 1)")
    parser.add_argument("--outstanding", type=int, default=64, help="requests under way (default: 64)")
    parser.add_argument("--node", default=shutil.which("node") or "node", help="the Node.js program")
    options = parser.parse_args()
    print(f"{machine()}; median of {options.runs}, scale {options.scale:g}, {options.outstanding} under way\n")
    print("| work | JavaScript | ours | ratio | must | aim | |\n" + "| --- " * 7 + "|")
    task.react(compare, (options,))


if __name__ == "__main__":
    main()
