"""Swarms that reach each other through a blind relay only."""

from __future__ import annotations

from typing import Any

from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.dht import requests
from spaceswarm_proxy.peering import relay_link
from spaceswarm_proxy.peering.relay_port import RelayPort
from tests.interop.swarm_world import OURS, OursWithOurs, OursWithTheirs, TheirsWithOurs

RELAY = KeyPair.from_seed(b"\x77" * 32)


class Relayed:
    """The near swarm connects."""

    def setUp(self: Any) -> None:
        super().setUp()  # type: ignore[safe-super]
        # Nothing is lost here: nobody asks again for a last word, and who does not answer at once never will.
        self.patch(relay_link, "LINGER", 0.2)
        self.patch(requests, "TIMEOUT", 0.1)

    async def relay(self: Any) -> RelayPort:
        """A relay of ours."""
        node = await self.our_persistent_node((await self.world()).bootstrap)
        return await node.relay(RELAY)

    def always(self: Any, kind: str) -> dict[str, Any]:
        """The option by which an end uses the relay, whether it is needed or not."""
        key = RELAY.public_key
        return {"relay_through": lambda force: key} if kind == OURS else {"relay_always": key}

    async def assert_relayed(self: Any, relay: RelayPort, one: Any, other: Any) -> None:
        await self.met(one, other)
        await self.talk(one, other)
        self.assertEqual(1, relay.stats.matched)

    async def test_rule(self: Any) -> None:
        """A rule of one's own may let the first attempt go there."""
        relay = await self.relay()
        one, other = await self.near(hidden=True, **self.always(self.near_kind)), await self.far(hidden=True)
        await other.join(client=False)
        await one.join(server=False)
        await self.assert_relayed(relay, one, other)
        self.assertEqual(1, (await one.counts()).attempts)

    async def test_server(self: Any) -> None:
        """Who is connected to may have such a rule, too."""
        relay = await self.relay()
        one, other = await self.near(hidden=True), await self.far(hidden=True, **self.always(self.far_kind))
        await other.join(client=False)
        await one.join(server=False)
        await self.assert_relayed(relay, one, other)
        self.assertEqual(1, (await one.counts()).attempts)


class Needing(Relayed):
    """What is not for JavaScript ones: they wait for long until they know that there is no other way."""

    async def test_when_needed(self: Any) -> None:
        """When there is no direct way, the next attempt is made soon, and goes through the relay."""
        relay = await self.relay()
        one, other = await self.near(hidden=True, relay_through=RELAY.public_key), await self.far(hidden=True)
        await other.join(client=False)
        await one.join(server=False)
        await self.assert_relayed(relay, one, other)
        self.assertEqual(2, (await one.counts()).attempts)


class OursTests(Needing, OursWithOurs):
    """Both are ours."""


class OursWithTheirsTests(Needing, OursWithTheirs):
    """Ours connects to a JavaScript one."""


class TheirsWithOursTests(Relayed, TheirsWithOurs):
    """The other way round."""
