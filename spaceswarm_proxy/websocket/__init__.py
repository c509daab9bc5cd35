"""
Byte streams over WebSockets, as Twisted endpoints.

``WebSocketServerEndpoint`` and ``WebSocketClientEndpoint`` wrap any other stream endpoint.  The user's protocol meets
an ordinary transport: what it writes travels in binary messages, and the messages' boundaries mean nothing.  The
WebSocket protocol itself (:rfc:`6455`) is the sans-I/O core of the ``websockets`` library; the rooms here are

* ``opening``: both roles' opening handshakes, pure;
* ``protocol``: the Twisted protocol on the outer connection, one class for both roles;
* ``transport``: what the user's protocol sees;
* ``timers``: time limits, and pings;
* ``endpoints``: the endpoints and their factory.
"""

from spaceswarm_proxy.websocket.endpoints import WebSocketClientEndpoint, WebSocketServerEndpoint
from spaceswarm_proxy.websocket.opening import Handshake
from spaceswarm_proxy.websocket.protocol import MAX_MESSAGE

__all__ = ["MAX_MESSAGE", "Handshake", "WebSocketClientEndpoint", "WebSocketServerEndpoint"]
