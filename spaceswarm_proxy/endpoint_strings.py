"""
The text forms of our endpoints, for ``serverFromString``, ``clientFromString`` and every program that takes such text.

Twisted finds the parsers through ``twisted/plugins/spaceswarm_endpoints.py``, and so loads this file in every program
that uses such strings; the rest of us is imported when one of ours is met.

The names of the arguments are what users write, hence camelCase, like those of Twisted's own endpoints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import (
    IStreamClientEndpoint,
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpoint,
    IStreamServerEndpointStringParser,
)
from twisted.plugin import IPlugin
from zope.interface import implementer

if TYPE_CHECKING:
    from collections.abc import Callable

    from spaceswarm_proxy.crypto.keys import KeyPair
    from spaceswarm_proxy.interfaces import INetwork
    from spaceswarm_proxy.secret.connection import Settings as SecretSettings

DEFAULT_PROXY = "tcp:127.0.0.1:4978"


@implementer(IPlugin, IStreamServerEndpointStringParser, IStreamClientEndpointStringParserWithReactor)
class WebSocketParser:
    """
    ``ws:``, WebSockets.  A server::

        ws:4977
        ws:4977:interface=0.0.0.0:path=/proxy:origins=https\\://a.example,https\\://b.example
        ws:endpoint=ssl\\:4977\\:privateKey=key.pem\\:certKey=cert.pem

    and a client::

        ws:127.0.0.1:4977:path=/proxy
        ws:url=wss\\://a.example/proxy
        ws:endpoint=tls\\:a.example\\:443:host=a.example:path=/proxy

    Both take ``endpoint`` (any other endpoint to run over), ``path``, ``subprotocol`` (several with commas, best
    first), ``maxMessage`` (bytes), ``ping`` and ``pingTimeout`` (seconds).  A server takes ``interface`` (by default
    the loopback) and ``origins``, a client ``origin``.
    """

    prefix = "ws"

    def parseStreamServer(self, reactor: Any, *args: Any, **kwargs: Any) -> IStreamServerEndpoint:
        """See ``IStreamServerEndpointStringParser``, and :meth:`server`."""
        return self.server(reactor, *args, **kwargs)

    def parseStreamClient(self, reactor: Any, *args: Any, **kwargs: Any) -> IStreamClientEndpoint:
        """See ``IStreamClientEndpointStringParserWithReactor``, and :meth:`client`."""
        return self.client(reactor, *args, **kwargs)

    def server(
        self,
        reactor: Any,
        port: str = "",
        interface: str = "127.0.0.1",
        endpoint: str = "",
        path: str | None = None,
        origins: str | None = None,
        **options: str,
    ) -> IStreamServerEndpoint:
        """
        Make a server endpoint of the string's arguments.

        :raises ValueError: neither or both of port and endpoint, or a number that is none.
        """
        from twisted.internet.endpoints import serverFromString

        from spaceswarm_proxy.websocket import WebSocketServerEndpoint

        if bool(port) == bool(endpoint):
            raise ValueError("a ws server needs either a port or an endpoint")
        return WebSocketServerEndpoint(
            serverFromString(reactor, endpoint) if endpoint else _tcp_server(reactor, int(port), interface),
            path=None if path is None else _absolute(path),
            origins=None if origins is None else _list(origins),
            reactor=reactor,
            **_common(**options),
        )

    def client(
        self,
        reactor: Any,
        host: str = "",
        port: str = "",
        path: str = "/",
        url: str = "",
        endpoint: str = "",
        origin: str | None = None,
        **options: str,
    ) -> IStreamClientEndpoint:
        """
        Make a client endpoint of the string's arguments.

        :raises ValueError: no host, URL or endpoint, or not such a URL, or a number that is none.
        """
        from twisted.internet.endpoints import clientFromString

        from spaceswarm_proxy.websocket import WebSocketClientEndpoint

        if not (host or url or endpoint):
            raise ValueError("a ws client needs a host, a URL or an endpoint")
        url = url or _url(host or "localhost", port, path)
        common = dict(origin=origin, reactor=reactor, **_common(**options))
        if endpoint:
            return WebSocketClientEndpoint(clientFromString(reactor, endpoint), url, **common)
        return WebSocketClientEndpoint.to(url, **common)


@implementer(IPlugin, IStreamServerEndpointStringParser, IStreamClientEndpointStringParserWithReactor)
class SpaceswarmParser:
    """
    ``spaceswarm:``, the swarm, through a proxy server.  To be found under a topic, or to connect to whoever is::

        spaceswarm:topic=my room
        spaceswarm:topic=my room:proxy=ws\\:127.0.0.1\\:4977:seedFile=identity

    and to connect to one peer, by its public key in hex or its ``host:port``::

        spaceswarm:peer=8f1c...

    ``proxy`` is the client endpoint of the server, by default ``tcp:127.0.0.1:4978``.  ``seed`` (64 hex digits) is our
    identity, ``token`` the credential that the server asks for; ``seedFile`` and ``tokenFile`` say which file holds it,
    where others cannot read it.  With ``endToEnd=yes`` nothing goes through a server that could read it, with ``no``
    the server acts for us; by default that is as the server can.  A client's ``timeout`` is in seconds.

    Without a server, as a node of the real network::

        spaceswarm:topic=my room:network=dht:profile=hyperswarm
        spaceswarm:topic=my room:network=dht:bootstrap=192.0.2.1\\:49737,192.0.2.2\\:49737:seedFile=identity

    with ``profile``, ``bootstrap`` (several with commas), ``host``, ``port`` (UDP) and ``state`` as for ``DHTNode``.
    """

    prefix = "spaceswarm"

    def parseStreamServer(self, reactor: Any, *args: Any, **kwargs: Any) -> IStreamServerEndpoint:
        """See ``IStreamServerEndpointStringParser``, and :meth:`server`."""
        return self.server(reactor, *args, **kwargs)

    def parseStreamClient(self, reactor: Any, *args: Any, **kwargs: Any) -> IStreamClientEndpoint:
        """See ``IStreamClientEndpointStringParserWithReactor``, and :meth:`client`."""
        return self.client(reactor, *args, **kwargs)

    def server(self, reactor: Any, topic: str = "", **options: str) -> IStreamServerEndpoint:
        """
        Make a server endpoint of the string's arguments.

        :raises ValueError: no topic, or a malformed seed.
        """
        from spaceswarm_proxy.endpoints import TopicServerEndpoint
        from spaceswarm_proxy.own_network import OwnNetworkServerEndpoint
        from spaceswarm_proxy.topics import topic as to_topic

        if not topic:
            raise ValueError("a spaceswarm server needs a topic")
        key = to_topic(topic)
        return OwnNetworkServerEndpoint(_network(reactor, **options), lambda network: TopicServerEndpoint(network, key))

    def client(
        self, reactor: Any, topic: str = "", peer: str = "", timeout: str = "30", **options: str
    ) -> IStreamClientEndpoint:
        """
        Make a client endpoint of the string's arguments.

        :raises ValueError: neither or both of topic and peer, or a malformed seed or number.
        """
        from spaceswarm_proxy.endpoints import PeerClientEndpoint, TopicClientEndpoint
        from spaceswarm_proxy.interfaces import Peer
        from spaceswarm_proxy.own_network import OwnNetworkClientEndpoint
        from spaceswarm_proxy.topics import topic as to_topic

        if bool(topic) == bool(peer):
            raise ValueError("a spaceswarm client needs either a topic or a peer")
        seconds = float(timeout)
        make_network = _network(reactor, **options)
        if peer:
            whom = Peer.from_id(peer.lower().encode())
            return OwnNetworkClientEndpoint(make_network, lambda net: PeerClientEndpoint(net, whom, seconds, reactor))
        key = to_topic(topic)
        return OwnNetworkClientEndpoint(make_network, lambda net: TopicClientEndpoint(net, key, seconds, reactor))


@implementer(IPlugin, IStreamServerEndpointStringParser, IStreamClientEndpointStringParserWithReactor)
class SecretParser:
    """
    ``secret:``, an encrypted connection over any other endpoint, both sides known by their keys.  A server::

        secret:tcp\\:4978:key=server.seed
        secret:endpoint=tcp\\:4978\\:interface=10.0.0.1:key=server.seed:clients=8f1c...,a02b...

    (an endpoint that has a ``=`` in it is given by name) and a client::

        secret:tcp\\:a.example\\:4978:server=77de...
        secret:tcp\\:a.example\\:4978:server=77de...:key=client.seed

    ``key`` says who we are: a file with a seed of 64 hex digits, or the digits themselves, which others may see there.
    A client without one is somebody new each time.  ``clients`` are the public keys of those who may connect, by
    default everybody; ``server`` is the server's (or several, with commas), or ``any``, which whoever sits on the way
    can be.  Both take ``pattern`` (``XX`` or ``IK``, the same on both sides), ``profile`` (the network whose streams
    these are), ``timeout`` for the opening, ``keepAlive`` and ``silence`` (seconds; see ``Settings``) and
    ``maxMessage`` (bytes); a server takes ``maxPending``.
    """

    prefix = "secret"

    def parseStreamServer(self, reactor: Any, *args: Any, **kwargs: Any) -> IStreamServerEndpoint:
        """See ``IStreamServerEndpointStringParser``, and :meth:`server`."""
        return self.server(reactor, *args, **kwargs)

    def parseStreamClient(self, reactor: Any, *args: Any, **kwargs: Any) -> IStreamClientEndpoint:
        """See ``IStreamClientEndpointStringParserWithReactor``, and :meth:`client`."""
        return self.client(reactor, *args, **kwargs)

    def server(
        self,
        reactor: Any,
        endpoint: str = "",
        key: str = "",
        clients: str | None = None,
        pattern: str = "XX",
        maxPending: str = "",
        **options: str,
    ) -> IStreamServerEndpoint:
        """
        Make a server endpoint of the string's arguments.

        :raises ValueError: no endpoint or key, or one that is none.
        :raises OSError: the key's file can't be read.
        """
        from twisted.internet.endpoints import serverFromString

        from spaceswarm_proxy.secret.endpoints import MAX_PENDING, SecretServerEndpoint

        if not endpoint or not key:
            raise ValueError("a secret server needs an endpoint and a key: who it is")
        return SecretServerEndpoint(
            serverFromString(reactor, endpoint),
            _key_pair(key),
            None if clients is None else _public_keys(clients),
            _pattern(pattern),
            int(maxPending) if maxPending else MAX_PENDING,
            _secret_settings(**options),
            reactor,
        )

    def client(
        self,
        reactor: Any,
        endpoint: str = "",
        server: str = "",
        key: str = "",
        pattern: str = "XX",
        **options: str,
    ) -> IStreamClientEndpoint:
        """
        Make a client endpoint of the string's arguments.

        :raises ValueError: no endpoint or server, or a key that is none, or not the one that ``IK`` needs.
        :raises OSError: the key's file can't be read.
        """
        from twisted.internet.endpoints import clientFromString

        from spaceswarm_proxy.secret.endpoints import SecretClientEndpoint

        if not endpoint or not server:
            raise ValueError("a secret client needs an endpoint and the server's public key (server=any takes every)")
        return SecretClientEndpoint(
            clientFromString(reactor, endpoint),
            _key_pair(key) if key else None,
            None if server == "any" else _public_keys(server),
            _pattern(pattern),
            _secret_settings(**options),
            reactor,
        )


def _key_pair(key: str) -> KeyPair:
    """:param key: a seed in hex, or the name of a file with one."""
    from spaceswarm_proxy.crypto.keys import SEED_LENGTH, KeyPair

    text, what = key, "the key"  # which may be a secret, with a mistake in it
    if len(key) != 2 * SEED_LENGTH:
        text, what = _secret("key", "", key), key
    try:
        return KeyPair.from_seed(bytes.fromhex(text))
    except ValueError:
        raise ValueError(f"{what} is no seed: {2 * SEED_LENGTH} hex digits") from None


def _public_keys(text: str) -> tuple[bytes, ...]:
    from spaceswarm_proxy.codec.key_text import decode_key

    keys = tuple(map(decode_key, _list(text)))
    if not keys:
        raise ValueError("a list of public keys with none in it")
    return keys


def _pattern(text: str) -> str:
    if text not in ("XX", "IK"):
        raise ValueError(f"pattern={text} is neither XX nor IK")
    return text


def _secret_settings(
    profile: str = "spaceswarm",
    timeout: str = "15",
    keepAlive: str = "0",
    silence: str = "0",
    maxMessage: str = "",
) -> SecretSettings:
    """What both sides of ``secret:`` take."""
    from spaceswarm_proxy.crypto.profile import profile_named
    from spaceswarm_proxy.crypto.secret_stream import MAX_MESSAGE
    from spaceswarm_proxy.secret.connection import Settings

    return Settings(
        labels=profile_named(profile).stream_labels,
        max_message=int(maxMessage) if maxMessage else MAX_MESSAGE,
        opening_timeout=float(timeout),
        keep_alive=float(keepAlive),
        timeout=float(silence),
    )


def _network(
    reactor: Any, network: str = "proxy", seed: str = "", seedFile: str = "", **options: str
) -> Callable[[], INetwork]:
    """:returns: what makes the network; what is wrong with the text is found out now."""
    from spaceswarm_proxy.crypto.keys import KeyPair

    if network not in ("proxy", "dht"):
        raise ValueError(f"network is {network!r}, and can be proxy or dht")
    seed = _secret("seed", seed, seedFile)
    key_pair = KeyPair.from_seed(bytes.fromhex(seed)) if seed else None
    make = _dht_network if network == "dht" else _proxy_network
    return make(reactor, key_pair, **options)


def _dht_network(
    reactor: Any,
    key_pair: KeyPair | None,
    profile: str = "spaceswarm",
    bootstrap: str = "",
    host: str = "0.0.0.0",
    port: str = "",
    state: str = "",
) -> Callable[[], INetwork]:
    from spaceswarm_proxy.crypto.profile import profile_named
    from spaceswarm_proxy.dht.bootstrap import BootstrapNode
    from spaceswarm_proxy.dht.contact import address_of
    from spaceswarm_proxy.network.dht import DHTNetwork
    from spaceswarm_proxy.peering.node import DHTNode

    number = int(port or 0)
    address_of(host, number)
    options: dict[str, Any] = {
        "profile": profile_named(profile),
        "bootstrap": [str(BootstrapNode.parse(node)) for node in _list(bootstrap)] or None,
        "host": host,
        "port": number if port else None,
        "any_port": not port,
        "state": state or None,
        "key_pair": key_pair,
    }
    return lambda: DHTNetwork(DHTNode(reactor, **options), owns_node=True)


def _proxy_network(
    reactor: Any,
    key_pair: KeyPair | None,
    proxy: str = DEFAULT_PROXY,
    token: str = "",
    tokenFile: str = "",
    endToEnd: str = "",
) -> Callable[[], INetwork]:
    from twisted.internet.endpoints import clientFromString

    from spaceswarm_proxy.proxy.client import ProxyNetwork

    endpoint = clientFromString(reactor, proxy)
    token = _secret("token", token, tokenFile)
    if endToEnd not in _END_TO_END:
        raise ValueError(f"endToEnd is {endToEnd!r}, and can be yes or no")
    options: dict[str, Any] = {"token": token.encode() or None, "end_to_end": _END_TO_END[endToEnd]}
    return lambda: ProxyNetwork(endpoint, reactor=reactor, key_pair=key_pair, **options)


_END_TO_END = {"": None, "yes": True, "no": False}


def _secret(name: str, text: str, path: str) -> str:
    """A secret that stands in the string itself, or in a file."""
    if text and path:
        raise ValueError(f"either {name} or {name}File, not both")
    if not path:
        return text
    with open(path, encoding="utf-8") as file:
        return file.read().strip()


def _common(subprotocol: str = "", maxMessage: str = "", ping: str = "30", pingTimeout: str = "30") -> dict[str, Any]:
    """What both sorts of WebSocket endpoint take, under the names and in the types of the classes."""
    from spaceswarm_proxy.websocket import MAX_MESSAGE

    return {
        "subprotocols": _list(subprotocol),
        "max_message": int(maxMessage) if maxMessage else MAX_MESSAGE,
        "ping_interval": float(ping),
        "ping_timeout": float(pingTimeout),
    }


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _tcp_server(reactor: Any, port: int, interface: str) -> IStreamServerEndpoint:
    from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint

    endpoint = TCP6ServerEndpoint if ":" in interface else TCP4ServerEndpoint
    return endpoint(reactor, port, interface=interface)


def _url(host: str, port: str, path: str) -> str:
    from twisted.internet.abstract import isIPv6Address

    host = f"[{host}]" if isIPv6Address(host) else host
    return f"ws://{host}{':' if port else ''}{port}{_absolute(path)}"


def _absolute(path: str) -> str:
    return path if path.startswith("/") else f"/{path}"
