"""
Our peers and JavaScript ones behind routers that translate addresses.

The suite takes a few pairs of routers, with ``NATLAB=all`` every one; ``benchmarks/nat.py`` tells how long they take.
What can be expected of each pair, and what makes some of them a matter of luck, is in :mod:`tests.interop.natlab`.
"""

from __future__ import annotations

import os
import shutil
from typing import Any

from tests.interop.dht_support import each
from tests.interop.nat_support import HOPELESS, OURS, THEIRS, TOGETHER, Meeting, NatNetwork, meet
from tests.interop.natlab import why_not
from tests.interop.node import InteropTestCase

#: Client and server.
PAIRS = ((OURS, OURS), (OURS, THEIRS), (THEIRS, OURS))
#: Seconds that it may take where no luck is needed; JavaScript peers take a tenth of one.
SOON = 5.0
#: Seconds for those who need luck; the probes end before.
LUCKY = 45.0
#: How that is told where there is no hope; JavaScript servers give up before the client can.
ABORTED = ("HOLEPUNCH_ABORTED", "HOLEPUNCH_DOUBLE_RANDOMIZED_NATS", "REMOTE_ABORTED")
#: How it is told that nothing of the far end has been heard for too long.
TIMEOUTS = ("stream-timeout", "ETIMEDOUT")


class NatCase(InteropTestCase):
    """Two sides, and a network in between."""

    skip = InteropTestCase.skip or why_not()
    timeout = 120

    async def network(self, a: str, b: str, **options: Any) -> NatNetwork:
        """Two routers, until the test is over."""
        network = NatNetwork(a, b, **options)
        self.addCleanup(network.close)
        await network.start()
        return network

    async def attempt(self, network: NatNetwork, client: str, server: str) -> Meeting:
        """What comes of it when a peer of one kind connects to one of another."""
        serving = await network.peer("b", server)
        key = await serving.listen(echo=True)
        return await meet(await network.peer("a", client), key)

    async def attempts(self, network: NatNetwork) -> dict[tuple[str, str], Meeting]:
        """All of them at once; nobody has to do with two, as a node looks for luck only once at a time."""
        meetings = await each(self.attempt(network, *pair) for pair in PAIRS)
        return dict(zip(PAIRS, meetings, strict=True))

    async def talk(self, meeting: Meeting) -> None:
        """Text goes there and comes back."""
        meeting.end.tell("write", text="is it me?")
        event = await meeting.end.event("data", "close")
        self.assertEqual("is it me?", event.get("text"), event)

    async def together(self, a: str, b: str, limit: float = SOON, **options: Any) -> None:
        """Whoever connects to whomever is there before the time is over, and is understood."""
        network = await self.network(a, b, **options)
        meetings = await self.attempts(network)
        for pair, meeting in meetings.items():
            self.assertIsNone(meeting.code, (pair, a, b))
            self.assertLess(meeting.seconds, limit, (pair, a, b))
        await each(map(self.talk, meetings.values()))
        await network.close()


class MeetingTests(NatCase):
    """Who meets whom."""

    async def test_forwarded_ports(self) -> None:
        """A router that lets everybody in who knows the port is no hindrance."""
        await self.together("cone", "consistent")

    async def test_two_routers(self) -> None:
        """Each lets in who was written to."""
        await self.together("consistent", "consistent")

    async def test_other_ports(self) -> None:
        """The same, with other ports outside than inside."""
        await self.together("mapped", "mapped")

    async def test_routers_that_remember(self) -> None:
        """Routers that change the port of a flow when somebody knocks too early: nobody does."""
        await self.together("consistent", "consistent", reject=True)

    async def test_same_router(self) -> None:
        """Two in one local network meet there: their router leads nowhere else."""
        await self.together("consistent", "same")

    async def test_random_server(self) -> None:
        """A router that takes another port for every destination: one of many probes hits one of many ports."""
        await self.together("consistent", "random", LUCKY)

    async def test_both_random(self) -> None:
        """Two of those is too much luck to hope for: the client is told at once that it must be a relay."""
        meetings = await self.attempts(await self.network(*HOPELESS))
        for pair, meeting in meetings.items():
            self.assertIn(meeting.code, ABORTED, pair)


class ChangeTests(NatCase):
    """What becomes of connections when a router forgets them, or is another one all of a sudden."""

    skip = NatCase.skip or (None if shutil.which("conntrack") else "the command 'conntrack' is missing")

    async def connected(self) -> tuple[NatNetwork, list[Meeting]]:
        """Connections between two routers, in use."""
        network = await self.network("consistent", "consistent")
        meetings = list((await self.attempts(network)).values())
        await each(map(self.talk, meetings))
        return network, meetings

    async def test_forgotten_by_the_clients_router(self) -> None:
        """The next word of the client opens the way again."""
        network, meetings = await self.connected()
        network.lab.forget("a")
        await each(map(self.talk, meetings))

    async def test_forgotten_by_the_servers_router(self) -> None:
        """What the client says gets through as soon as the server has shown that it is still there."""
        network, meetings = await self.connected()
        network.lab.forget("b")
        await each(map(self.talk, meetings))

    async def test_other_router(self) -> None:
        """
        From another port nobody is known: the connection ends, since nothing gets through, and a new one is there soon.
        """
        network, meetings = await self.connected()
        network.lab.exchange("a", "mapped")
        await each(map(self.gives_up, meetings))
        again = await each(meet(meeting.client, meeting.key) for meeting in meetings)
        self.assertEqual([None] * len(again), [meeting.code for meeting in again])
        await each(map(self.talk, again))

    async def gives_up(self, meeting: Meeting) -> None:
        """The client notices that it speaks to nobody."""
        meeting.end.tell("write", text="are you there?")
        self.assertIn((await meeting.end.event("data", "close"))["code"], TIMEOUTS)


class AllMeetingTests(NatCase):
    """Every pair of routers, for minutes."""

    skip = NatCase.skip or (None if os.environ.get("NATLAB") == "all" else "only with NATLAB=all")
    timeout = 3600

    async def test_every_pair(self) -> None:
        """Whoever can meet does."""
        for a, b in TOGETHER:
            by_luck = "random" in (a, b) and b != "same"
            await self.together(a, b, LUCKY if by_luck else SOON)
