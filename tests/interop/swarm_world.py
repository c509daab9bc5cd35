"""
A network, and swarms in it: what the tests of swarms are written with.

A scenario is written once, for a *near* swarm and *far* ones, as a class without a way; one class for each way runs it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count, repeat
from typing import Any

from twisted.internet.endpoints import clientFromString, serverFromString

from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.network.dht import DHTNetwork
from spaceswarm_proxy.network.joint import JointNetwork
from spaceswarm_proxy.network.local import LocalHub
from spaceswarm_proxy.network.rounds import RoundTimes
from spaceswarm_proxy.peering.node import DHTNode
from spaceswarm_proxy.proxy.client import ProxyNetwork
from spaceswarm_proxy.proxy.limits import Limits
from spaceswarm_proxy.proxy.server import ProxyServer
from tests.interop.dht_support import LOOPBACK, PLENTY, DHTTestCase, OurNetwork, each, until
from tests.interop.node import NodeProcess
from tests.interop.proxy_support import eventually
from tests.interop.swarm_ends import End, OurEnd, TheirEnd

#: Nodes in between: hole punching asks some of them what it looks like from outside.
SIZE = 5
#: Tests ask again much sooner than people do.
QUICK = RoundTimes(pause=0.05, settle=0.1)
LIMITS = Limits(min_refresh=0.05, close_timeout=1.0)

OURS, THEIRS, PROXIED = "ours", "theirs", "proxied"


def agree(end: End, ends: Iterable[End]) -> bool:
    """Is it connected with each of the others, once, and the other one knows of that same connection?"""
    others = [other for other in ends if other is not end]
    if end.connected != sorted(other.key for other in others):
        return False
    return all(end.made(other) != other.made(end) for other in others)


def hide(node: DHTNode) -> None:
    """From now on there is no way to a node of ours, or from it to others, but through relays."""
    node._core.firewalled = True
    listen, connect = node.listen, node.connect
    node.listen = lambda *words, **options: listen(  # type: ignore[method-assign]
        *words, **{**options, "holepunch": False, "share_local_address": False}
    )
    node.connect = lambda *words, **options: connect(  # type: ignore[method-assign]
        *words, **{**options, "local_connection": False}
    )


def camel_case(name: str) -> str:
    """As JavaScript calls it."""
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


class SwarmCase(DHTTestCase):
    """Swarms that end with the test."""

    profile = "hyperswarm"
    timeout = 30
    #: The kind of the near swarm, and that of all others.
    near_kind: str
    far_kind: str

    def setUp(self) -> None:
        self._seeds = count(1)
        self._words = count(1)
        self._network: OurNetwork | None = None
        self._host: NodeProcess | None = None
        self._proxy: int | None = None
        #: Nodes of ours, by the keys of those who use them.
        self._nodes: dict[bytes, DHTNode] = {}

    async def near(self, **options: Any) -> Any:
        """The swarm that the test is about.  :param options: as for :class:`~spaceswarm_proxy.swarm.Swarm`."""
        return await self.end(self.near_kind, **options)

    async def far(self, **options: Any) -> Any:
        """Another one."""
        return await self.end(self.far_kind, **options)

    async def both(self, **options: Any) -> tuple[Any, Any]:
        """One of each, with the same options."""
        return await self.near(**options), await self.far(**options)

    async def settled(self, *ends: Any) -> None:
        """Wait until nobody is connecting, and all pairs of them have one connection, of which both know."""

        async def are_settled() -> bool:
            quiet = [not (await end.counts()).connecting for end in ends]
            return all(quiet) and all(map(agree, ends, repeat(ends)))

        await until(are_settled)

    async def met(self, one: End, other: End) -> None:
        """Wait until two are connected with each other, and with nobody else."""
        await each([one.meets(other), other.meets(one)])

    async def talk(self, one: Any, other: Any) -> None:
        """
        Two say something to each other, and hear it.

        They say it again until then: what one has begun to open before it gave that up may still arrive, and take the
        place of a connection in use; with that, words get lost.
        """
        word = f"word {next(self._words)}."

        async def heard() -> bool:
            await one.say(other, text=word)
            await other.say(one, text=word)
            return one.has_heard(other, word) and other.has_heard(one, word)

        await until(heard)

    def kill_theirs(self) -> None:
        """Kill the process of the JavaScript ones; those that follow are in another."""
        assert self._host is not None
        self._host.kill()
        self._host = None

    def network_changes(self, end: End) -> None:
        """From one moment to the next, the node by which an end of ours is in the network has another address."""
        for event in ("network_changed", "network_update"):
            self._nodes[end.key].events.emit(event)

    async def end(self, kind: str, seed: bytes | None = None, **options: Any) -> Any:
        """
        A swarm.

        :param seed: of its key pair; by default a new one.
        :param options: also ``each`` and ``hidden``, see ``swarm_host.js``.
        """
        seed = bytes([next(self._seeds)]) * 32 if seed is None else seed
        begin = {OURS: self._our_end, THEIRS: self._their_end, PROXIED: self._proxied_end}[kind]
        return await begin(await self.world(), seed, options)

    async def world(self) -> OurNetwork:
        """The network."""
        if self._network is None:
            self._network = await self.our_network(SIZE, **PLENTY)
        return self._network

    async def _our_end(self, world: OurNetwork, seed: bytes, options: dict[str, Any]) -> End:
        hidden = options.pop("hidden", False)
        network = await DHTNetwork.start(key_pair=KeyPair.from_seed(seed), times=QUICK, **self._place(world))
        self._nodes[network.public_key] = network.node
        if hidden:
            hide(network.node)
        return self._ending(OurEnd(network, **options))

    def _place(self, world: OurNetwork) -> dict[str, Any]:
        """Of a node of ours."""
        return {"profile": self.profile, "bootstrap": [world.bootstrap], "host": LOOPBACK, "port": 0}

    async def _proxied_end(self, world: OurNetwork, seed: bytes, options: dict[str, Any]) -> End:
        if self._proxy is None:
            self._proxy = await self._proxy_server(world)
        endpoint = clientFromString(or_global(None), f"tcp:{LOOPBACK}:{self._proxy}")
        network = ProxyNetwork(endpoint, key_pair=KeyPair.from_seed(seed))
        end = self._ending(OurEnd(network, **options))
        await eventually(lambda: network.status().online)
        self._nodes[network.key_pair.public_key] = self._proxy_node
        return end

    async def _proxy_server(self, world: OurNetwork) -> int:
        """:returns: the port of a proxy server that is a node of the network."""
        far = await DHTNetwork.start(times=QUICK, **self._place(world))
        self._proxy_node = far.node
        hub = LocalHub(profile=self.profile)
        server = ProxyServer(JointNetwork(hub.network(far.key_pair), far), limits=LIMITS)
        self.addCleanup(server.close)
        port = await serverFromString(or_global(None), f"tcp:0:interface={LOOPBACK}").listen(server)
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    def _ending(self, end: OurEnd) -> OurEnd:
        self.addCleanup(lambda: end.swarm.close(force=True))
        return end

    async def _their_end(self, world: OurNetwork, seed: bytes, options: dict[str, Any]) -> End:
        if self._host is None:
            self._host = self.script("swarm_host.js", bootstrap=world.bootstrap)
        end = TheirEnd(self._host, seed.hex()[:2])
        return await end.begin(seed, **{camel_case(name): value for name, value in options.items()})


class OursWithOurs(SwarmCase):
    """All of them are ours, on nodes of their own."""

    near_kind, far_kind = OURS, OURS


class OursWithTheirs(SwarmCase):
    """Ours, and JavaScript ones."""

    near_kind, far_kind = OURS, THEIRS


class TheirsWithOurs(SwarmCase):
    """The other way round."""

    near_kind, far_kind = THEIRS, OURS


class ProxiedWithTheirs(SwarmCase):
    """Ours behind a proxy, and JavaScript ones."""

    near_kind, far_kind = PROXIED, THEIRS


class TheirsWithProxied(SwarmCase):
    """The other way round."""

    near_kind, far_kind = THEIRS, PROXIED
