"""
Many ends of ours in one process: peers (nodes of their own), and clients of a proxy.  ``crowd.js`` is the same in
JavaScript; the options, commands and events are those that stand there.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import clientFromString
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.stdio import StandardIO
from twisted.internet.task import react
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.interfaces import INetwork
from spaceswarm_proxy.network.dht import DHTNetwork
from spaceswarm_proxy.proxy.client import ProxyNetwork
from spaceswarm_proxy.swarm import Swarm
from tests.interop.crowd_talk import Round, Talk


def say(event: str, **fields: Any) -> None:
    """Print a line."""
    print(json.dumps({"event": event, **fields}), flush=True)


class Talking(Protocol):
    """A connection of an end."""

    talk: Talk

    def __init__(self, end: End) -> None:
        self._end = end

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.talk = Talk(self._end.name, self.transport.write, self._end.say)
        self._end.talks.add(self.talk)
        if self._end.crowd.round is not None:
            self.talk.round(*self._end.crowd.round)

    def dataReceived(self, data: bytes) -> None:
        self.talk.received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end.talks.discard(self.talk)
        self.talk.parted()


class End(Factory):
    """Somebody who wants to meet others."""

    noisy = False

    def __init__(self, crowd: Crowd, name: str) -> None:
        self.crowd = crowd
        self.name = name
        self.talks: set[Talk] = set()
        self._swarm: Swarm | None = None

    def say(self, event: str, /, **fields: object) -> None:
        """Print a line about it."""
        say(event, name=self.name, **fields)

    def buildProtocol(self, addr: object) -> Talking:
        return Talking(self)

    async def begin(self, kind: str, topics: list[str], seed: str | None) -> None:
        """Join the topics."""
        self._swarm = swarm = Swarm(await self._network(kind, seed), self)
        joined = [swarm.join(bytes.fromhex(topic)) for topic in topics]
        await gatherResults([each.flushed() for each in joined])
        self.say("begun")

    async def _network(self, kind: str, seed: str | None) -> INetwork:
        key_pair = KeyPair.from_seed(bytes.fromhex(seed)) if seed else None
        if kind == "peer":
            network: INetwork = await DHTNetwork.start(self.crowd.reactor, key_pair=key_pair, **self.crowd.node_options)
            return network
        endpoint = clientFromString(self.crowd.reactor, f"{kind}:127.0.0.1:{self.crowd.options[kind]}")
        client: INetwork = ProxyNetwork(endpoint, key_pair=key_pair)
        return client

    async def leave(self) -> None:
        """Go."""
        if self._swarm is not None:
            await self._swarm.close()


class Crowd(LineOnlyReceiver):
    """All ends, and what they are told on standard input."""

    delimiter = b"\n"

    def __init__(self, reactor: Any, options: dict[str, Any]) -> None:
        self.reactor = reactor
        self.options = options
        self.round: Round | None = None
        #: Fires when standard input ends.
        self.ended: Deferred[None] = Deferred()
        self._ends: list[End] = []

    @property
    def node_options(self) -> dict[str, Any]:
        """For the node of a peer."""
        options = self.options
        return {"profile": options["profile"], "bootstrap": options["bootstrap"], "host": "127.0.0.1", "port": 0}

    def lineReceived(self, line: bytes) -> None:
        command = json.loads(line)
        done = Deferred.fromCoroutine(getattr(self, "do_" + command.pop("cmd"))(**command))
        done.addErrback(lambda failure: say("failed", what=failure.getTraceback()))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(None)

    async def do_begin(self, name: str, kind: str, topics: list[str], seed: str | None = None) -> None:
        """One more end."""
        end = End(self, name)
        self._ends.append(end)
        await end.begin(kind, topics, seed)

    async def do_round(self, round: int, bytes: int) -> None:
        """Everybody sends so many bytes to everybody."""
        self.round = (round, bytes)
        for end in self._ends:
            for talk in tuple(end.talks):
                talk.round(*self.round)

    async def do_leave(self) -> None:
        """Everybody goes."""
        ends, self._ends, self.round = self._ends, [], None
        await gatherResults([Deferred.fromCoroutine(end.leave()) for end in ends])
        say("left")


async def main(reactor: Any) -> None:
    """Run until standard input ends."""
    crowd = Crowd(reactor, json.loads(sys.argv[1]))
    StandardIO(crowd, reactor=reactor)
    say("ready")
    await crowd.ended


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
