"""
Swarms as tests see them, all alike: ours, on whatever network, and JavaScript ones.

What an end has seen is in its lists and tables.  What it is to do are its methods: a peer comes first, where there is
one, and the result is to be waited for.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory

from spaceswarm_proxy.interfaces import Peer, PeerAddress
from spaceswarm_proxy.swarm import Discovery, RetryTimes, Swarm
from tests.interop.dht_support import TOPIC
from tests.interop.node import Event, NodeProcess
from tests.interop.proxy_support import eventually
from tests.network.support import Recorder

#: How long a peer waits before it is tried again, in milliseconds, and as ours has it: tests need not wait long.
BACKOFFS = [100, 200, 300, 400]
TIMES = RetryTimes(
    0.1, short_spread=0, medium=0.2, medium_spread=0, long=0.3, long_spread=0, explicit=0.4, explicit_spread=0, jitter=0
)
#: What is not always said.
DEFAULTS: dict[str, dict[str, Any]] = {
    "join": {"topic": TOPIC, "session": ""},
    "leave": {"topic": TOPIC},
    "refresh": {"session": ""},
    "destroy": {"session": ""},
    "refuse": {"everybody": False},
    "ban": {"banned": True},
}
#: What may be done to each connection at once, as ours calls it.
HANG_UP = {"destroy": "abortConnection", "end": "loseConnection"}


class Met(NamedTuple):
    """A connection has opened."""

    key: bytes
    #: It was made by the end itself.
    initiator: bool
    #: Those under which the end had found the peer by then.
    topics: frozenset[bytes]


@dataclass(frozen=True)
class Counts:
    """What an end has of everything."""

    #: The peers that it remembers, and under which topics it has found them.
    peers: dict[bytes, frozenset[bytes]]
    topics: frozenset[bytes]
    explicit: int
    connecting: int
    #: So many were connecting at most.
    most: int
    attempts: int
    #: Connections made, and taken.
    opened: tuple[int, int]
    closed: tuple[int, int]
    banned: int


class End:
    """What has been seen of a swarm so far."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self._met: list[Met] = []
        self._parted: list[bytes] = []
        self._bans: list[bytes] = []
        self._heard: defaultdict[bytes, str] = defaultdict(str)

    def _look(self) -> None:
        """Take note of what has happened."""

    @property
    def met(self) -> list[Met]:
        """The connections, in order."""
        self._look()
        return self._met

    @property
    def bans(self) -> list[bytes]:
        """The keys of those who were told to be banned."""
        self._look()
        return self._bans

    @property
    def connected(self) -> list[bytes]:
        """The keys of the peers that it is connected with now; twice if there are two connections."""
        return sorted((Counter(met.key for met in self.met) - Counter(self._parted)).elements())

    def made(self, other: End) -> bool:
        """Was the newest connection with a peer made by this end?"""
        return next((met.initiator for met in reversed(self.met) if met.key == other.key), False)

    def meets(self, *others: End, times: int | None = None) -> Deferred[None]:
        """
        :param times: so many connections have there been; ``None``: whatever number.
        :returns: a Deferred that fires when it is connected with these, and with nobody else.
        """
        keys = sorted(other.key for other in others)
        return eventually(lambda: self.connected == keys and times in (None, len(self.met)))

    def has_heard(self, other: End, text: str) -> bool:
        """Is that the last that has come from a peer?"""
        self._look()
        return self._heard[other.key].endswith(text)


class Talker(Recorder):
    """A connection of an end of ours."""

    def __init__(self, end: OurEnd, key: bytes) -> None:
        super().__init__()
        self._end = end
        self.key = key

    def connectionMade(self) -> None:
        super().connectionMade()
        self._end.greet(self.transport)

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self._end.hear(self.key, data)


class OurEnd(Factory, End):
    """One of ours."""

    noisy = False

    def __init__(self, network: Any, each: str | None = None, **options: Any) -> None:
        """
        :param each: what is done to each connection, see :data:`HANG_UP`.
        :param options: of the swarm.
        """
        End.__init__(self, network.public_key)
        self._each = each and HANG_UP[each]
        self._refused: frozenset[bytes] | None = frozenset()
        self._most = 0
        self._sessions: dict[str, Discovery] = {}
        self.swarm = Swarm(network, self, **{"retry_times": TIMES, "firewall": self._refuses, **options})
        self.swarm.events.on("connection", self._meet)
        self.swarm.events.on("disconnection", lambda protocol, info, reason: self._parted.append(protocol.key))
        self.swarm.events.on("ban", lambda info: self._bans.append(info.peer.public_key))
        self.swarm.events.on("update", self._updated)
        for name in ("flush", "listen", "suspend", "resume", "close"):
            setattr(self, name, getattr(self.swarm, name))

    def buildProtocol(self, address: PeerAddress) -> Talker:  # type: ignore[override]
        assert address.public_key is not None
        return Talker(self, address.public_key)

    def greet(self, transport: Any) -> None:
        """For its connections."""
        if self._each:
            getattr(transport, self._each)()

    def hear(self, key: bytes, data: bytes) -> None:
        """For its connections."""
        self._heard[key] += data.decode()

    def _meet(self, protocol: Any, info: Any) -> None:
        self._met.append(Met(protocol.key, info.client, frozenset(info.topics)))

    def _updated(self) -> None:
        self._most = max(self._most, self.swarm.connecting)

    def _refuses(self, peer: Peer, info: Any) -> bool:
        return self._refused is None or peer.public_key in self._refused

    # What it is to do.

    def join(self, topic: bytes = TOPIC, session: str = "", **options: Any) -> Deferred[bool]:
        self._sessions[session] = self.swarm.join(topic, **options)
        return self._sessions[session].flushed()

    def refresh(self, session: str = "", **options: Any) -> Deferred[bool]:
        return self._sessions[session].refresh(**options)

    def destroy(self, session: str = "") -> Deferred[None]:
        return self._sessions[session].destroy()

    def leave(self, topic: bytes = TOPIC) -> Deferred[None]:
        return self.swarm.leave(topic)

    async def join_peer(self, peer: End) -> None:
        self.swarm.join_peer(peer.key)

    async def leave_peer(self, peer: End) -> None:
        self.swarm.leave_peer(peer.key)

    async def refuse(self, peer: End | None = None, *, everybody: bool = False) -> None:
        self._refused = None if everybody else frozenset([peer.key] if peer else [])

    async def ban(self, peer: End, *, banned: bool = True) -> None:
        self.swarm.peers[Peer.keyed(peer.key).id].ban(banned)

    def _each_stream(self, peer: End, do: Callable[[Any], object]) -> None:
        for protocol in self.swarm.connections:
            if protocol.key == peer.key:  # type: ignore[attr-defined]
                do(protocol.transport)  # type: ignore[attr-defined]

    async def drop(self, peer: End) -> None:
        self._each_stream(peer, lambda transport: transport.abortConnection())

    async def end(self, peer: End) -> None:
        self._each_stream(peer, lambda transport: transport.loseConnection())

    async def say(self, peer: End, *, text: str) -> None:
        self._each_stream(peer, lambda transport: transport.write(text.encode()))

    async def counts(self) -> Counts:
        stats = self.swarm.stats
        return Counts(
            peers={bytes.fromhex(id.decode()): frozenset(info.topics) for id, info in self.swarm.peers.items()},
            topics=frozenset(self.swarm.topics),
            explicit=sum(info.explicit for info in self.swarm.peers.values()),
            connecting=self.swarm.connecting,
            most=self._most,
            attempts=stats.attempts,
            opened=(stats.opened_by_client, stats.opened_by_server),
            closed=(stats.closed_by_client, stats.closed_by_server),
            banned=stats.banned,
        )


class TheirEnd(End):
    """A JavaScript one, in a process with others.  Its methods are the commands of ``swarm_host.js``."""

    _requests = count(1)

    def __init__(self, process: NodeProcess, name: str) -> None:
        """It is there when :meth:`begin` is done."""
        super().__init__(b"")
        self._process = process
        self._name = name
        self._seen = 0

    async def begin(self, seed: bytes, **options: Any) -> TheirEnd:
        """:param options: as there."""
        settings = {"backoffs": BACKOFFS, "jitter": 0, "handshakeClearWait": 100, **options}
        self.key = bytes.fromhex(await self._do("start", None, seed=seed, options=settings))
        return self

    def __getattr__(self, command: str) -> Callable[..., Deferred[Any]]:
        def do(peer: End | None = None, **fields: Any) -> Deferred[Any]:
            return Deferred.fromCoroutine(self._do(command, peer, **{**DEFAULTS.get(command, {}), **fields}))

        return do

    async def _do(self, command: str, peer: End | None, **fields: Any) -> Any:
        number = next(self._requests)
        if peer is not None:
            fields["key"] = peer.key
        words = {"cmd": command, "swarm": self._name, "request": number, **fields}
        self._process.write(json.dumps(words, default=bytes.hex))
        answer = await self._process.any_event(("done", "failed"), lambda event: event["request"] == number)
        assert answer["event"] == "done", answer
        return answer["result"]

    def _look(self) -> None:
        events, self._seen = self._process.events[self._seen :], len(self._process.events)
        for event in events:
            if event.get("swarm") == self._name and "key" in event:
                self._note(event, bytes.fromhex(event["key"]))

    def _note(self, event: Event, key: bytes) -> None:
        if event["event"] == "connection":
            self._met.append(Met(key, event["initiator"], _all_bytes(event["topics"])))
        elif event["event"] == "close":
            self._parted.append(key)
        elif event["event"] == "ban":
            self._bans.append(key)
        elif event["event"] == "data":
            self._heard[key] += event["text"]

    async def counts(self) -> Counts:
        """Ask for them."""
        info = await self._do("info", None)
        client, server = info["stats"]["connects"]["client"], info["stats"]["connects"]["server"]
        return Counts(
            peers={bytes.fromhex(key): _all_bytes(topics) for key, topics in info["peers"]},
            topics=_all_bytes(info["topics"]),
            explicit=info["explicit"],
            connecting=info["connecting"],
            most=info["most"],
            attempts=client["attempted"],
            opened=(client["opened"], server["opened"]),
            closed=(client["closed"], server["closed"]),
            banned=info["stats"]["bannedPeers"],
        )


def _all_bytes(words: list[str]) -> frozenset[bytes]:
    return frozenset(map(bytes.fromhex, words))
