"""The same datagrams to a JavaScript node and to ours: both answer the same, or neither does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol

from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy.crypto.hashing import hash32
from spaceswarm_proxy.crypto.profile import Profile, profile_named
from spaceswarm_proxy.dht import commands
from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.dht.message import Command, encode_request, parse_response
from spaceswarm_proxy.dht.values import Announce, MutableRecord, PluginRequest, encode_mutable_put
from spaceswarm_proxy.interfaces import HostPort
from tests.dht.signing import signed
from tests.interop.dht_crossing import KEY, KEY_PAIR, SELF, VALUE
from tests.interop.dht_support import LOOPBACK, OTHER_PROFILE, PLENTY, RELAYS, TOPIC, DHTTestCase

#: Nodes of each network; whoever is asked knows all others.
SIZE = 3
#: Requests that are under way at a time: no socket's buffer overflows.
WINDOW = 32
#: The transaction that ends each window.
LAST = b"\xff\xff"
#: Internal commands, and those of others that are not about connections; both with some that nobody knows.
INTERNAL = (*range(commands.DELAYED_PING + 1), 99)
EXTERNAL = (*range(commands.FIND_PEER, commands.PLUGIN + 1), 11, 300)
TARGETS = (None, TOPIC, SELF, hash32(VALUE))
WRONG_TOKEN = bytes(32)
#: Values that are right for a few commands at most.
ANY_VALUES = (None, b"", b"\x00", b"\xfd\x00", VALUE)
#: A link of a chain by which an announce can be repeated.
LINK = bytes(range(32))


@dataclass
class Asked:
    """A node that is asked, and what is needed to ask it."""

    address: HostPort
    id: bytes
    token: bytes = WRONG_TOKEN

    def request(self, command: Command, tid: bytes, token: bytes | None = None) -> bytes:
        return encode_request(command, tid, address_of(*self.address), None, token)


#: What is asked, in words, and the datagram for a node.
Question = tuple[object, bytes]


class Asker(DatagramProtocol):
    """Sends datagrams, and collects what is answered."""

    def __init__(self) -> None:
        self._answers: list[bytes] = []
        self._last: Deferred[None] = Deferred()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        if datagram[2:4] == LAST:
            self._last.callback(None)
        else:
            self._answers.append(datagram)

    async def ask(self, asked: Asked, datagrams: list[bytes]) -> list[bytes]:
        """:returns: the answers: those there are, as a node that has answered the last one has answered all."""
        self._answers = []
        for start in range(0, len(datagrams), WINDOW):
            self._last = Deferred()
            for datagram in datagrams[start : start + WINDOW]:
                self.transport.write(datagram, asked.address)
            self.transport.write(asked.request(Command.make(True, commands.PING), LAST), asked.address)
            await self._last
        return self._answers


#: The place of the error in a :func:`shape`.
ERROR = 0


def shape(answer: bytes, asked: Asked) -> tuple[Any, ...]:
    """What the answers of two nodes have in common when all is well: everything but ids, tokens and neighbours."""
    response = parse_response(answer)
    own, token = response.id and response.id == asked.id, response.token and True
    return response.error, answer[1], response.to, own, token, len(response.closer), response.value, len(answer)


def signed_values(names: Profile, command: int, target: bytes, node: Asked, token: bytes) -> Iterator[bytes]:
    """Values of a command that needs a signature."""
    if command in (commands.ANNOUNCE, commands.UNANNOUNCE):
        withdrawn = command == commands.UNANNOUNCE
        many = tuple(address_of(*relay) for relay in RELAYS * 2)
        for relays, refresh in ((), None), (many, None), (many, hash32(LINK)):
            value = signed(names, KEY_PAIR, target, node.id, token, relays, refresh, withdrawn=withdrawn)
            yield value.encode()
    elif command == commands.MUTABLE_PUT:
        for seq, value in (3, VALUE), (3, KEY), (2, VALUE), (300, KEY):
            record = MutableRecord.signed(names.mutable_put, KEY_PAIR, seq, value)
            yield encode_mutable_put(KEY, record)


#: Values of commands that need none.
UNSIGNED_VALUES = {
    commands.ANNOUNCE: [Announce(refresh=LINK).encode()] * 2,
    commands.MUTABLE_GET: [b"\x03", b"\xfd\x2c\x01", b"\xfd\x2d\x01"],
    commands.PLUGIN: [PluginRequest("a plugin", 1, 2, VALUE).encode()],
}


class Answers:
    """A network of theirs and one of ours, alike."""

    async def setUp(self: Any) -> None:
        theirs, ours = await self.their_network(SIZE), await self.our_network(SIZE, **PLENTY)
        self.asker = Asker()
        port = or_global(None).listenUDP(0, self.asker, interface=LOOPBACK)
        self.addCleanup(port.stopListening)
        self.own_port = port.getHost().port.to_bytes(2, "little")
        their_node, our_node = Asked(theirs.bootstrap, theirs.ids[0]), Asked(ours.bootstrap, ours.net.nodes[0].node_id)
        self.asked = their_node, our_node
        lookup = Command.make(False, commands.LOOKUP, TOPIC)
        for node in self.asked:
            (answer,) = await self.asker.ask(node, [node.request(lookup, bytes(2))])
            node.token = parse_response(answer).token

    async def answers(self: Any, make: Callable[[Asked], Iterable[Question]]) -> list[tuple[Any, ...] | None]:
        """Ask both the same, and see that the answers are alike; what they are, ``None`` where there is none."""
        shapes = []
        for node in self.asked:
            words, datagrams = zip(*make(node), strict=True)
            answers = {answer[2:4]: shape(answer, node) for answer in await self.asker.ask(node, datagrams)}
            shapes.append([(word, answers.get(sent[2:4])) for word, sent in zip(words, datagrams, strict=True)])
        for theirs, ours in zip(*shapes, strict=True):
            self.assertEqual(theirs, ours)
        return [answer for _, answer in shapes[0]]

    def combined(
        self: Any, node: Asked, internal: bool, numbers: Iterable[int], values: Callable[..., Iterable[bytes | None]]
    ) -> Iterator[Question]:
        """Every command with every target, token and value, and without each of these."""
        count = 0
        for command, target, token in product(numbers, TARGETS, (None, node.token, WRONG_TOKEN)):
            for number, value in enumerate(values(command, target or TOPIC, node, token or WRONG_TOKEN)):
                count += 1
                words = command, target, token and token == node.token, number
                request = Command.make(internal, command, target, value)
                yield words, node.request(request, count.to_bytes(2, "little"), token)

    async def test_internal_commands(self: Any) -> None:
        """What nodes ask of each other to find each other."""

        def values(*_: object) -> Iterable[bytes | None]:
            return (*ANY_VALUES, self.own_port, self.own_port + VALUE)

        answers = await self.answers(lambda node: self.combined(node, True, INTERNAL, values))
        errors = {None if answer is None else answer[ERROR] for answer in answers}
        self.assertEqual({None, commands.OK, commands.UNKNOWN_COMMAND, commands.INVALID_TOKEN}, errors)

    async def test_external_commands(self: Any) -> None:
        """What clients ask: to store records of each kind, and to be told of them."""
        profiles = profile_named(self.profile), profile_named(OTHER_PROFILE[self.profile])

        def values(command: int, *what: Any) -> Iterator[bytes | None]:
            for names in profiles:
                yield from signed_values(names, command, *what)
            yield from UNSIGNED_VALUES.get(command, ())
            yield from ANY_VALUES

        answers = await self.answers(lambda node: self.combined(node, False, EXTERNAL, values))
        errors = {None if answer is None else answer[ERROR] for answer in answers}
        self.assertEqual({None, commands.OK, *commands.ERROR_NAMES}, errors)

    async def test_nonsense(self: Any) -> None:
        """Datagrams that begin as a request does, with all combinations of flags, of any length."""

        def nonsense(node: Asked) -> Iterator[Question]:
            head = address_of(*node.address)
            kinds = product((*range(32), 0x20, 0x9C, 0xFC), range(10), (0, 1, 2, 32, 33, 34, 65, 66, 97, 98, 99, 110))
            for number, (flags, filler, length) in enumerate(kinds):
                datagram = bytes((0x03, flags)) + number.to_bytes(2, "little") + head + bytes([filler]) * length
                yield (flags, filler, length), datagram

        answers = await self.answers(nonsense)
        self.assertLess(0, answers.count(None))
        self.assertLess(answers.count(None), len(answers))


class SpaceswarmTests(Answers, DHTTestCase):
    """In Spaceswarm networks."""

    profile = "spaceswarm"


class HyperswarmTests(Answers, DHTTestCase):
    """In Hyperswarm networks."""

    profile = "hyperswarm"
