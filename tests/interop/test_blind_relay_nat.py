"""Blind relays for peers behind routers: where there is no other way, and until there is one."""

from __future__ import annotations

from tests.interop.dht_support import each
from tests.interop.nat_support import OURS, THEIRS, NatNetwork
from tests.interop.natlab import why_not
from tests.interop.node import EventProcess, InteropTestCase
from tests.interop.peer_process import PeerEnd

#: Client and server.
PAIRS = ((OURS, OURS), (OURS, THEIRS), (THEIRS, OURS))
#: Seconds until a relay has brought two together, on a busy machine; it takes a tenth of one.
SOON = 5.0
#: Seconds that those who need luck may take to find a direct way.
LUCKY = 60.0


class RelayNatTests(InteropTestCase):
    """Two routers, and a relay outside."""

    skip = InteropTestCase.skip or why_not()
    timeout = 150

    async def network(self, a: str, b: str) -> NatNetwork:
        """Two routers, until the test is over."""
        network = NatNetwork(a, b)
        self.addCleanup(network.close)
        await network.start()
        return network

    async def meet(self, network: NatNetwork, client: str, server: str, relay: str) -> PeerEnd:
        """A peer of one kind connects to one of another, and they are there soon: the client's end."""
        serving = await network.peer("b", server)
        key = await serving.listen(echo=True)
        connecting = await network.peer("a", client)
        end = connecting.connect(key, relay=relay)
        event = await end.event("open", "close")
        self.assertEqual("open", event["event"], (client, server, event))
        self.assertLess(event["ms"] / 1000, SOON, (client, server))
        return end

    async def talk(self, end: PeerEnd) -> None:
        """Text goes there and comes back."""
        end.tell("write", text="is it me?")
        self.assertEqual("is it me?", (await end.event("data", "close")).get("text"))

    async def all_meet(self, network: NatNetwork, key: str) -> None:
        """All pairs meet at the relay."""
        ends = await each(self.meet(network, *pair, key) for pair in PAIRS)
        await each(map(self.talk, ends))

    async def test_our_relay(self) -> None:
        """Two routers that take another port for every destination: our relay carries what cannot go directly."""
        network = await self.network("random", "random")
        relay, key = await network.relay(OURS)
        await self.all_meet(network, key)
        self.assertEqual(len(PAIRS), len([event for event in relay.events if event["event"] == "coupled"]))

    async def test_their_relay(self) -> None:
        """And so does theirs."""
        network = await self.network("random", "random")
        _, key = await network.relay(THEIRS)
        await self.all_meet(network, key)

    async def test_for_a_while(self) -> None:
        """With one of them they talk at once, and the relay is left when there is a direct way; nobody notices."""
        network = await self.network("consistent", "random")
        relay, key = await network.relay(OURS)
        await each(self.move(network, relay, key, *pair) for pair in PAIRS)

    async def move(self, network: NatNetwork, relay: EventProcess, key: str, client: str, server: str) -> None:
        """One pair, from the relay to a direct way."""
        end = await self.meet(network, client, server, key)
        await self.talk(end)
        # Two connections with the relay end for each pair; whose they are does not matter.
        for _ in range(2):
            await relay.event("closed", timeout=LUCKY)
        await self.talk(end)
