"""
Nodes that lie, for the simulated network: each in its own way, and all of them members in good standing before.

A liar is a real node whose answers are changed on their way out; what it asks of others, it asks as everybody does.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable
from typing import NamedTuple

from benchmarks.simulated_network import SimulatedHost, SimulatedNetwork
from spaceswarm_proxy.codec.compact import encode_uint
from spaceswarm_proxy.dht.commands import ANNOUNCE
from spaceswarm_proxy.dht.contact import ID_LENGTH, Contact
from spaceswarm_proxy.dht.message import (
    MAX_CLOSER,
    REQUEST_BYTE,
    Request,
    Response,
    encode_response,
    parse_request,
    parse_response,
)
from spaceswarm_proxy.dht.sockets import SERVER_SOCKET
from spaceswarm_proxy.errors import MessageError

#: Addresses where nobody is that the liars have looked for, to have some near to any id.
GROUND = 20_000
#: How many of them, the nearest to an id, the liars name in turn.
NAMED = 400
#: Seconds between the meetings of the liars.
MEETING = 60.0


class Crowd:
    """Addresses sorted by the ids that follow from them."""

    def __init__(self, addresses: list[bytes]) -> None:
        self._sorted = sorted((contact.id, contact.address) for contact in map(Contact, addresses))

    def near(self, target: bytes, count: int = MAX_CLOSER) -> list[bytes]:
        """:returns: those whose ids are around the target, which are about the nearest."""
        middle = bisect(self._sorted, (target,))
        first = max(0, min(middle - count // 2, len(self._sorted) - count))
        return [address for _, address in self._sorted[first : first + count]]


class Conspiracy:
    """What liars know together."""

    def __init__(self, network: SimulatedNetwork) -> None:
        self._network = network
        #: Do they lie already?
        self.lying = False
        #: Answers that were changed, or withheld.
        self.lies = 0
        self._members = Crowd([])
        self._nowhere = Crowd([])

    def begin(self) -> None:
        """From now on, lie."""
        self._nowhere = Crowd([self.random_address() for _ in range(GROUND)])
        self.lying = True
        self._meet()

    def _meet(self) -> None:
        """See who belongs to it, now and then."""
        liars = [host for host in self._network.hosts if isinstance(host, Liar)]
        self._members = Crowd([host.addresses[SERVER_SOCKET] for host in liars])
        self._network.call_at(self._network.now + MEETING, self._meet)

    def random_address(self) -> bytes:
        """:returns: six bytes, where nobody is."""
        return self._network.random_ip() + bytes((1 + self._network.random.randrange(255), 80))

    def members_near(self, target: bytes) -> list[bytes]:
        """:returns: addresses of liars."""
        return self._members.near(target)

    def nobody_near(self, target: bytes) -> list[bytes]:
        """:returns: addresses where nobody is, others each time."""
        return self._network.random.sample(self._nowhere.near(target, NAMED), MAX_CLOSER)


class Exchange(NamedTuple):
    """A request to a liar, and what an honest node would have answered."""

    liar: Liar
    request: Request
    data: bytes
    response: Response

    def answer(self, closer: list[bytes] | None = None, id: bytes | None = None, value: bytes | None = None) -> bytes:
        """:returns: the honest answer but for what is given, and without its value unless that is given."""
        tid, to, own_id, token, honest_closer, error, _ = self.response
        closer = honest_closer if closer is None else closer
        encoded = encode_uint(len(closer)) + b"".join(closer) if closer else b""
        return encode_response(tid, to, own_id if id is None else id, token, encoded, error, value)


def name_liars(exchange: Exchange) -> bytes | None:
    """Only liars are near to it."""
    target = exchange.request.target
    return exchange.data if target is None else exchange.answer(exchange.liar.conspiracy.members_near(target))


def name_nobody(exchange: Exchange) -> bytes | None:
    """There are nodes much nearer, which do not exist."""
    target = exchange.request.target
    return exchange.data if target is None else exchange.answer(exchange.liar.conspiracy.nobody_near(target))


def name_anything(exchange: Exchange) -> bytes | None:
    """Nodes that do not exist, different ones each time."""
    if exchange.request.target is None:
        return exchange.data
    return exchange.answer([exchange.liar.conspiracy.random_address() for _ in range(MAX_CLOSER)])


def say_nothing(exchange: Exchange) -> bytes | None:
    """Silence."""
    return None


def say_garbage(exchange: Exchange) -> bytes | None:
    """An answer that is cut, or damaged, or no answer at all but for its head, or has a value that is none."""
    random = exchange.liar.network.random
    data = exchange.data
    return random.choice(
        (
            data[: random.randrange(2, len(data))],
            data[:4] + random.randbytes(random.randrange(400)),
            bytes((data[0], data[1] ^ (1 + random.randrange(31)))) + data[2:],
            random.randbytes(random.randrange(2, 400)),
            exchange.answer(value=random.randbytes(random.randrange(200))),
        )
    )


def claim_id(exchange: Exchange) -> bytes | None:
    """An id next to what is looked for, which is not its own."""
    target = exchange.request.target or exchange.response.tid * (ID_LENGTH // 2)
    return exchange.answer(id=target[:-1] + bytes((target[-1] ^ 1,)))


def keep_nothing(exchange: Exchange) -> bytes | None:
    """All is well, only that what it has taken from others it never shows."""
    return exchange.answer() if exchange.request.command != ANNOUNCE else exchange.data


#: Takes an exchange, and gives what is sent instead of the honest answer, if anything.
Lie = Callable[[Exchange], bytes | None]
LIES: tuple[Lie, ...] = (
    name_liars, name_nobody, name_anything, say_nothing, say_garbage, claim_id, keep_nothing,
)  # fmt: skip


class Liar(SimulatedHost):
    """A host whose node's answers are not what goes out."""

    __slots__ = ("conspiracy", "lie")

    honest = False
    conspiracy: Conspiracy
    lie: Lie

    def respond(self, data: bytes, source: bytes, socket: int, now: float) -> bytes | None:
        reply = super().respond(data, source, socket, now)
        if reply is None or data[0] != REQUEST_BYTE or not self.conspiracy.lying:
            return reply
        try:
            exchange = Exchange(self, parse_request(data), reply, parse_response(reply))
        except MessageError as problem:
            raise AssertionError("a node has answered what can't be read, or so that it can't be read") from problem
        self.conspiracy.lies += 1
        return self.lie(exchange)
