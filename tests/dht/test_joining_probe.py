"""Tests of spaceswarm_proxy.dht.joining: how a node finds out whether others can reach it."""

from __future__ import annotations

from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.codec.compact import ADDRESSES
from spaceswarm_proxy.dht import requests
from spaceswarm_proxy.dht.commands import PING_NAT
from spaceswarm_proxy.dht.contact import address_of, contact_at
from spaceswarm_proxy.dht.joining import PROBES
from spaceswarm_proxy.dht.message import parse_request
from spaceswarm_proxy.dht.sockets import CLIENT_SOCKET, SERVER_SOCKET
from tests.dht.walk import NODES
from tests.dht.world import SERVER_PORT, Alone


class ProbeTests(SynchronousTestCase):
    """What has to be so for a node to be reachable."""

    def setUp(self) -> None:
        self.alone = Alone(ephemeral=False, bootstrap_count=1)
        self.core = self.alone.core
        self.core.bootstrap = (NODES[0],)
        self.seen = Alone.ADDRESS[:4] + SERVER_PORT.to_bytes(2, "little")

    def take_asked(self) -> list[tuple[int, bytes, bytes]]:
        return self.alone.take_sent()

    def join(self, count: int, seen: bytes | None = None) -> list[tuple[int, bytes, bytes]]:
        """Some nodes are found, who see us there; those that are asked to reach us then."""
        self.core.start(self.alone.now)
        [request] = self.take_asked()
        closer = ADDRESSES.build(NODES[1:count])
        self.alone.answer(request, to=seen or self.seen, closer=closer)
        while (requests := self.take_asked()) and parse_request(requests[0][2]).command != PING_NAT:
            for request in requests:
                self.alone.answer(request, to=seen or self.seen)
        for socket, _, data in requests:
            self.assertEqual(socket, CLIENT_SOCKET)
            self.assertEqual(parse_request(data).value, SERVER_PORT.to_bytes(2, "little"))
        return requests

    def reach(self, request: tuple[int, bytes, bytes], seen: bytes | None = None) -> None:
        """A node reaches us at the server socket."""
        self.alone.answer((SERVER_SOCKET, *request[1:]), to=seen or self.seen)

    def test_enough(self) -> None:
        """Of five that are asked three must reach us; the latest heard are asked, and all are waited for."""
        requests = self.join(9)
        self.assertEqual(len(requests), PROBES)
        for request in requests[:3]:
            self.reach(request)
        self.assertTrue(self.core.ephemeral)
        self.alone.run(4)
        self.assertEqual((self.core.told_id, self.core.firewalled), (contact_at(self.seen).id, False))

    def test_not_enough(self) -> None:
        """Two are not enough, nor are answers that reach the other socket."""
        requests = self.join(9)
        for request in requests[:2]:
            self.reach(request)
        for request in requests[2:]:
            self.alone.answer(request, to=self.seen)
        self.assertEqual((self.core.told_id, self.core.firewalled), (None, True))

    def test_few(self) -> None:
        """Where fewer can be asked, one is enough."""
        requests = self.join(2)
        self.assertEqual(len(requests), 2)
        self.reach(requests[0])
        self.alone.run(4)
        self.assertEqual(self.core.told_id, contact_at(self.seen).id)

    def test_another_port(self) -> None:
        """Where a translation gives us another port outside, others could not know which: we are not reachable."""
        for request in self.join(9):
            self.reach(request, self.seen[:4] + b"\x01\x01")
        self.assertEqual((self.core.told_id, self.core.firewalled), (None, True))

    def test_another_host(self) -> None:
        """Where the server socket is seen at another host than requests come from, something is odd: we stay nobody."""
        for request in self.join(9):
            self.reach(request, b"\x0a\x63\x63\x63" + self.seen[4:])
        self.assertIsNone(self.core.told_id)

    def test_any_port(self) -> None:
        """Where each node sees another port, nobody is asked at all."""
        others = [address_of(f"10.1.0.{number}", 1) for number in range(1, 9)]
        self.core.bootstrap = (others[0],)
        self.core.start(self.alone.now)
        asked = 0
        while requests := self.take_asked():
            for request in requests:
                asked += 1
                self.assertNotEqual(parse_request(request[2]).command, PING_NAT)
                closer = ADDRESSES.build(others)
                self.alone.answer(request, to=self.seen[:4] + bytes((asked, 1)), closer=closer)
        self.assertEqual(self.core.public_address, self.seen[:4] + b"\x00\x00")
        self.assertEqual(self.alone.reports[-1], "ready")

    def test_too_much_under_way(self) -> None:
        """When nobody can be asked, as too much is under way, that is as if nobody had answered."""
        self.core.start(self.alone.now)
        [request] = self.take_asked()
        with mock.patch.object(requests, "MAX_REQUESTS", 0):
            self.alone.answer(request, to=self.seen)
            self.assertEqual((self.alone.reports, self.alone.sent), (["nat_changed", "ready"], []))
            self.alone.run(120)
        self.assertIsNone(self.core.told_id)

    def test_suspended(self) -> None:
        """A probe that is cut short by a suspension comes to nothing; it is repeated after it."""
        self.join(9)
        self.core.suspend(self.alone.now)
        self.assertEqual((self.core.told_id, "ready" in self.alone.reports), (None, False))
        self.core.resume(self.alone.now)
        self.assertTrue(self.take_asked())
