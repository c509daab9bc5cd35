"""Nodes on a virtual clock, and what they tell of themselves."""

from __future__ import annotations

from typing import Any

from twisted.logger import formatEvent

from spaceswarm_proxy.crypto.hashing import hash32
from spaceswarm_proxy.peering.node import DHTNode
from tests.dht.stepping import LOOPBACK, SteppedTestCase, plain_socket

TOPIC = hash32(b"a topic")
EVENTS = (
    "ready", "persistent", "ephemeral", "unreachable", "reachable", "network_changed", "network_update", "closed"
)  # fmt: skip


class NodeTestCase(SteppedTestCase):
    """Nodes, and what they tell of."""

    def watch(self, node: DHTNode, names: tuple[str, ...] = EVENTS) -> list[str]:
        """:returns: the events of a node, as they come."""
        seen: list[str] = []
        for name in names:
            node.events.on(name, lambda name=name: seen.append(name))
        return seen

    def taken_port(self) -> int:
        """A port that somebody has."""
        return int(self.silent().getsockname()[1])

    def free_port(self) -> int:
        """A port that nobody has."""
        with plain_socket() as place:
            return int(place.getsockname()[1])

    def lines(self, logs: Any) -> list[str]:
        """What was logged, as people see it."""
        return [formatEvent(event) for event in logs]

    def check_calls(self, node: DHTNode, error: type[Exception]) -> None:
        """Whatever one asks of it fails with this error, and leaves nothing."""
        key = node.key_pair
        for call in (
            lambda: node.ping(LOOPBACK, 80),
            lambda: node.unannounce(TOPIC),
            lambda: node.immutable_put(b"value"),
            lambda: node.immutable_get(TOPIC),
            lambda: node.mutable_put(key, b"value"),
            lambda: node.mutable_get(key.public_key),
        ):
            self.failureResultOf(call(), error)
        for call in (
            lambda: node.find_node(TOPIC),
            lambda: node.find_peer(key.public_key),
            lambda: node.lookup(TOPIC),
            lambda: node.announce(TOPIC),
            lambda: node.lookup_and_unannounce(TOPIC),
        ):
            self.assertRaises(error, call)
        self.assertEqual((0, 0), (node.stats.queries, node.stats.requests_under_way))
        self.assertEqual([], self.reactor.getDelayedCalls())
