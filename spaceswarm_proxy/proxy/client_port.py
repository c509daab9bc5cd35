"""Taking the connections that peers open to one client of the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.python.failure import Failure

from spaceswarm_proxy._waiters import Waiters
from spaceswarm_proxy.errors import NotSupportedError
from spaceswarm_proxy.proxy.relay import Inbound

if TYPE_CHECKING:
    from spaceswarm_proxy.proxy.server_link import ServerLink


class ClientPort:
    """
    Listening in a client's name, from when it first says LISTEN or is announced.

    That goes on until the link is lost, as it costs little and the client may want it again; whether a peer is let
    in is decided when it comes (``Upstreams.accepts``).
    """

    __slots__ = ("_link", "_open", "_opening", "_port", "_waiting", "wanted")

    def __init__(self, link: ServerLink) -> None:
        self._link = link
        #: Does the client take streams, whether it is announced or not?
        self.wanted = False
        self._opening = False
        self._open = False
        self._port: IListeningPort | None = None
        self._waiting: Waiters[None] = Waiters()

    def open(self) -> Deferred[None]:
        """
        :returns: a Deferred that fires when peers can connect, and fails with what the network says.
        :raises NotSupportedError: peers could not tell this client from the others.
        """
        network = self._link.network()
        if network is self._link.server.network:
            raise NotSupportedError("this network has no identities for clients to be found by")
        waiting = self._waiting.wait()
        if self._open:
            self._waiting.fire(None)
        elif not self._opening:
            self._opening = True
            network.listen(Inbound(self._link)).addCallbacks(self._opened, self._failed)
        return waiting

    def close(self) -> None:
        """The link is lost."""
        port, self._port = self._port, None
        if port is not None:
            self._link.server.settle(maybeDeferred(port.stopListening))

    def _opened(self, port: IListeningPort) -> None:
        self._open = True
        self._port = port
        self._waiting.fire(None)

    def _failed(self, failure: Failure) -> None:
        self._opening = self.wanted = False
        self._waiting.fail(failure)
