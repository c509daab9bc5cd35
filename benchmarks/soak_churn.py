"""
A server with many clients that come and go, for as long as you like: do its memory and its open files stay as they are?

    .venv/bin/python benchmarks/soak_churn.py --seconds 600

The server is a real ``twistd spaceswarm-proxy`` in a process of its own, and a node of a private network.  Its clients,
ours, and the peers in the network that they meet are in this process.  Each client joins a topic, exchanges bytes with
everybody whom it meets there, loses its link now and then, and leaves after some seconds, with or without a word; then
another one comes.  Every ten seconds there is a line about the server's process, in the end there are the slopes, taken
when the first third of the time had passed, and what is left when everybody has gone.

``tests/benchmarks/test_soak_churn.py`` runs a short one.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater, react
from twisted.logger import globalLogBeginner

# The tests' helpers are needed, wherever this is run from.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.slopes import slope
from spaceswarm_proxy.errors import SpaceswarmError
from spaceswarm_proxy.network.dht import DHTNetwork
from spaceswarm_proxy.proxy.client import ProxyNetwork
from spaceswarm_proxy.swarm import Swarm
from spaceswarm_proxy.testing import TestNet
from tests.service.observed import Census, ObservedTwistd

LOOPBACK = "127.0.0.1"
#: Nodes of the network, peers in it, and topics of each peer, which nobody shares with another.
NODES, PEERS, SHARE = 6, 10, 6
#: Seconds that a client stays, at least and at most, and between two things that it does, on average.
STAY = 20.0, 60.0
PAUSE = 3.0
#: How likely it is each time that its link is lost; bytes that it sends on a connection at most.
DROP, PIECE = 0.05, 20_000
#: Seconds between the lines.
INTERVAL = 10.0
#: By how much memory may grow in a run, and by how many file descriptors, to count as flat.
MEMORY_GROWTH, FILES_GROWTH = 0.1, 10.0


def topic(number: int) -> bytes:
    """The topic of that number."""
    return sha256(f"soak {number}".encode()).digest()


@dataclass(frozen=True)
class Sample:
    """The server's process at one moment."""

    #: Seconds from the beginning.
    time: float
    census: Census

    def row(self, counts: Counter[str]) -> str:
        """A line of the table."""
        census = self.census
        columns = [f"{self.time:.0f}", f"{census.memory / 2**20:.1f}", census.files, census.timers, census.links]
        columns += [census.streams, census.lookups, sum(census.objects.values())]
        columns += [counts["clients"], counts["drops"], counts["connections"], f"{counts['bytes'] / 2**20:.0f}"]
        return row(columns)


HEADER = (
    "s", "memory MiB", "files", "timers", "clients", "streams", "topics", "objects",
    "clients so far", "links dropped", "connections", "MiB",
)  # fmt: skip


def row(columns: Sequence[object]) -> str:
    """A line of a table in Markdown."""
    return f"| {' | '.join(map(str, columns))} |"


class Talker(Protocol):
    """A connection: counts, and sends back what it gets if it is a peer's."""

    transport: Any

    def __init__(self, counts: Counter[str], echoes: bool) -> None:
        self._counts = counts
        self._echoes = echoes

    def connectionMade(self) -> None:
        self._counts["connections"] += 1

    def dataReceived(self, data: bytes) -> None:
        self._counts["bytes"] += len(data)
        if self._echoes:
            self.transport.write(data)


class Client:
    """One client, from when it comes to when it goes."""

    def __init__(self, soak: Soak, random: Random) -> None:
        self._soak = soak
        self._random = random
        self.network = ProxyNetwork(soak.endpoint, reactor=soak.reactor)
        self._swarm = Swarm(self.network, soak.factory(False), reactor=soak.reactor)

    async def live(self) -> None:
        """Come, talk, and go."""
        random, counts = self._random, self._soak.counts
        counts["clients"] += 1
        self._swarm.join(topic(random.randrange(self._soak.topics)))
        until = self._soak.reactor.seconds() + random.uniform(*STAY)
        while self._soak.reactor.seconds() < until and not self._soak.is_closing:
            await deferLater(self._soak.reactor, random.uniform(0.0, 2 * PAUSE))
            self._talk()
            if random.random() < DROP:
                self._drop()
        if random.random() < 0.5:
            self._drop()
        await self._swarm.close(force=True)

    def _talk(self) -> None:
        for protocol in self._swarm.connections:
            piece = self._random.randbytes(self._random.randrange(PIECE))
            protocol.transport.write(piece)  # type: ignore[attr-defined]

    def _drop(self) -> None:
        """Lose the link; unless it goes at once, the client has another one soon."""
        if self.network.link is not None:
            self._soak.counts["drops"] += 1
            self.network.link.transport.abortConnection()


class Soak:
    """All of it."""

    def __init__(self, reactor: Any, directory: str, *, clients: int = 200, peers: int = PEERS, seed: int = 1) -> None:
        """
        :param directory: for the server.
        :param clients: how many are there at a time.
        :param peers: how many there are in the network.
        """
        self.reactor = reactor
        self.topics = peers * SHARE
        self.is_closing = False
        #: Clients, connections, links dropped, bytes that arrived in this process.
        self.counts: Counter[str] = Counter()
        self.samples: list[Sample] = []
        self._directory = directory
        self._clients = clients
        self._peer_count = peers
        self._random = Random(seed)
        self._living: list[Deferred[None]] = []

    def factory(self, echoes: bool) -> Factory:
        """Builds the protocols of an end."""
        factory = Factory.forProtocol(lambda: Talker(self.counts, echoes))  # type: ignore[arg-type]
        factory.noisy = False
        return factory

    async def start(self) -> None:
        """Everything but the clients."""
        self._net = TestNet(self.reactor, NODES)
        await self._net.ready()
        bootstrap = str(self._net.bootstrap[0])
        words = ["spaceswarm-proxy", "--bootstrap", bootstrap, "--host", LOOPBACK, "--port", "0"]
        words += ["--listen", f"tcp:0:interface={LOOPBACK}", "--max-clients-per-address", "1024"]
        self.server = ObservedTwistd(self.reactor, self._directory, *words, "--identity-grace", "2")
        port = await self.server.port()
        self.endpoint = TCP4ClientEndpoint(self.reactor, LOOPBACK, port)
        self._peers = [await self._peer(number, bootstrap) for number in range(self._peer_count)]
        self._begun = self.reactor.seconds()

    async def _peer(self, number: int, bootstrap: str) -> Swarm:
        network = await DHTNetwork.start(self.reactor, bootstrap=[bootstrap], host=LOOPBACK, port=0)
        swarm = Swarm(network, self.factory(True), reactor=self.reactor, max_peers=10_000)
        joined = [swarm.join(topic(SHARE * number + each)) for each in range(SHARE)]
        await gatherResults([discovery.flushed() for discovery in joined])
        return swarm

    def come(self) -> None:
        """Let the clients come, each in its own time."""
        self.is_closing = False
        for _ in range(self._clients):
            random = Random(self._random.random())
            self._living.append(Deferred.fromCoroutine(self._one_after_the_other(random)))

    async def _one_after_the_other(self, random: Random) -> None:
        await deferLater(self.reactor, random.uniform(0.0, STAY[0]))
        while not self.is_closing:
            try:
                await Client(self, random).live()
            except SpaceswarmError:
                self.counts["problems"] += 1

    async def sample(self) -> Sample:
        """How the server stands now."""
        self.samples.append(Sample(self.reactor.seconds() - self._begun, await self.server.census()))
        return self.samples[-1]

    async def everybody_leaves(self) -> None:
        """No clients any more, until others :meth:`come`."""
        self.is_closing = True
        living, self._living = self._living, []
        await gatherResults(living)

    async def close(self) -> None:
        """Nothing is left."""
        await self.everybody_leaves()
        await gatherResults([peer.close(force=True) for peer in self._peers])
        await self.server.kill()
        await self._net.close()

    # What came of it.

    def settled(self) -> list[Sample]:
        """The samples without those of the first third."""
        first, last = self.samples[0].time, self.samples[-1].time
        return [sample for sample in self.samples if sample.time >= first + (last - first) / 3]

    def slopes(self) -> dict[str, float]:
        """What each figure grows by in a minute."""
        samples = self.settled()
        times = [sample.time for sample in samples]
        figures = {
            "memory, MiB": [sample.census.memory / 2**20 for sample in samples],
            "files": [float(sample.census.files) for sample in samples],
            "timers": [float(sample.census.timers) for sample in samples],
            "objects": [float(sum(sample.census.objects.values())) for sample in samples],
        }
        return {name: slope(times, values) for name, values in figures.items()}

    def is_flat(self) -> bool:
        """Have memory and files stayed as they were?"""
        samples, slopes = self.settled(), self.slopes()
        minutes = (samples[-1].time - samples[0].time) / 60
        memory = slopes["memory, MiB"] * minutes * 2**20
        return memory < MEMORY_GROWTH * samples[0].census.memory and slopes["files"] * minutes < FILES_GROWTH


async def run(reactor: Any, directory: str, options: argparse.Namespace) -> int:
    """:returns: the process's exit status."""
    soak = Soak(reactor, directory, clients=options.clients, seed=options.seed)
    await soak.start()
    print(row(HEADER), row(["---"] * len(HEADER)), sep="\n", flush=True)
    print((await soak.sample()).row(soak.counts), flush=True)
    soak.come()
    while soak.samples[-1].time < options.seconds:
        await deferLater(reactor, INTERVAL)
        print((await soak.sample()).row(soak.counts), flush=True)
    flat, slopes = soak.is_flat(), soak.slopes()
    await soak.everybody_leaves()
    await deferLater(reactor, INTERVAL)
    print((await soak.sample()).row(soak.counts), flush=True)
    print("\n" + row(["growth in a minute", *slopes]), row(["---"] * (1 + len(slopes))), sep="\n")
    print(row(["", *(f"{value:+.2f}" for value in slopes.values())]))
    await soak.close()
    print(f"\n{'flat' if flat else 'NOT FLAT'}; {soak.counts['problems']} problems of clients")
    return 0 if flat else 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--clients", type=int, default=200, help="how many at a time")
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers")
    options = parser.parse_args()

    async def soak(reactor: Any) -> None:
        with TemporaryDirectory() as directory:
            sys.exit(await run(reactor, directory, options))

    # Until logging begins, Twisted keeps what is logged, and so everything that is mentioned there.
    globalLogBeginner.beginLoggingTo([lambda event: None], discardBuffer=True, redirectStandardIO=False)
    react(lambda reactor: Deferred.fromCoroutine(soak(reactor)))


if __name__ == "__main__":
    main()
