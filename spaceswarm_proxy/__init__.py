"""
Any byte stream on the Spaceswarm and Hyperswarm peer-to-peer networks, with Twisted.

The public names are here, and each is imported when it is first used: this file is also read by every ``twistd`` on
the machine, on the way to our plugins, and by programs that want one of the names only.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import txaio

if TYPE_CHECKING:
    from spaceswarm_proxy import errors
    from spaceswarm_proxy.crypto.keys import KeyPair
    from spaceswarm_proxy.crypto.profile import Profile
    from spaceswarm_proxy.dht.replies import Replies
    from spaceswarm_proxy.dht.results import Reply
    from spaceswarm_proxy.endpoints import PeerClientEndpoint, TopicClientEndpoint, TopicServerEndpoint
    from spaceswarm_proxy.interfaces import (
        HostPort,
        IAnnouncement,
        ILookup,
        INetwork,
        IPeerReceiver,
        NetworkStatus,
        Peer,
        PeerAddress,
    )
    from spaceswarm_proxy.network.dht import DHTNetwork
    from spaceswarm_proxy.network.local import LocalHub, LocalNetwork
    from spaceswarm_proxy.original import SpaceswarmProxyClient, SpaceswarmProxyServer
    from spaceswarm_proxy.peering.node import DHTNode
    from spaceswarm_proxy.proxy.client import ProxyNetwork
    from spaceswarm_proxy.proxy.limits import Limits
    from spaceswarm_proxy.proxy.server import ProxyServer
    from spaceswarm_proxy.secret.endpoints import SecretClientEndpoint, SecretServerEndpoint
    from spaceswarm_proxy.service import Settings, SpaceswarmProxyService
    from spaceswarm_proxy.swarm import Swarm
    from spaceswarm_proxy.topics import topic
    from spaceswarm_proxy.websocket import WebSocketClientEndpoint, WebSocketServerEndpoint

__version__ = "0.1.0"

__all__ = [
    "DHTNetwork",
    "DHTNode",
    "HostPort",
    "IAnnouncement",
    "ILookup",
    "INetwork",
    "IPeerReceiver",
    "KeyPair",
    "Limits",
    "LocalHub",
    "LocalNetwork",
    "NetworkStatus",
    "Peer",
    "PeerAddress",
    "PeerClientEndpoint",
    "Profile",
    "ProxyNetwork",
    "ProxyServer",
    "Replies",
    "Reply",
    "SecretClientEndpoint",
    "SecretServerEndpoint",
    "Settings",
    "SpaceswarmProxyClient",
    "SpaceswarmProxyServer",
    "SpaceswarmProxyService",
    "Swarm",
    "TopicClientEndpoint",
    "TopicServerEndpoint",
    "WebSocketClientEndpoint",
    "WebSocketServerEndpoint",
    "errors",
    "topic",
]

#: Where each name is, below this package.  One that is its module's own name is the module.
_MODULE_OF = {
    "DHTNetwork": "network.dht",
    "DHTNode": "peering.node",
    "HostPort": "interfaces",
    "IAnnouncement": "interfaces",
    "ILookup": "interfaces",
    "INetwork": "interfaces",
    "IPeerReceiver": "interfaces",
    "KeyPair": "crypto.keys",
    "Limits": "proxy.limits",
    "LocalHub": "network.local",
    "LocalNetwork": "network.local",
    "NetworkStatus": "interfaces",
    "Peer": "interfaces",
    "PeerAddress": "interfaces",
    "PeerClientEndpoint": "endpoints",
    "Profile": "crypto.profile",
    "ProxyNetwork": "proxy.client",
    "ProxyServer": "proxy.server",
    "Replies": "dht.replies",
    "Reply": "dht.results",
    "SecretClientEndpoint": "secret.endpoints",
    "SecretServerEndpoint": "secret.endpoints",
    "Settings": "service",
    "SpaceswarmProxyClient": "original",
    "SpaceswarmProxyServer": "original",
    "SpaceswarmProxyService": "service",
    "Swarm": "swarm",
    "TopicClientEndpoint": "endpoints",
    "TopicServerEndpoint": "endpoints",
    "WebSocketClientEndpoint": "websocket",
    "WebSocketServerEndpoint": "websocket",
    "errors": "errors",
    "topic": "topics",
}

# Before any module of ours makes its logger.
txaio.use_twisted()


# Type checkers have the imports above, and with this function they would take every name for one of ours.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """A public name, at its first use (PEP 562); from then on it is an attribute like any other."""
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = import_module(f"{__name__}.{_MODULE_OF[name]}")
        value = module if name == _MODULE_OF[name] else getattr(module, name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
