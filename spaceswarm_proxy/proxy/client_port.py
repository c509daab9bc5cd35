"""Taking the streams that peers open to one client of the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IListeningPort
from twisted.python.failure import Failure

from spaceswarm_proxy._waiters import Waiters
from spaceswarm_proxy.errors import NotSupportedError
from spaceswarm_proxy.proxy.relay import Inbound

if TYPE_CHECKING:
    from spaceswarm_proxy.proxy.identity import Identity


class ClientPort:
    """
    Listening in a client's name, from when it first says LISTEN or is announced.

    That goes on as long as its identity does, as it costs little and the client may want it again; whether a peer is
    let in is decided when it comes (``Upstreams.accepts``).
    """

    __slots__ = ("_identity", "_open", "_opening", "_port", "_waiting")

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._opening = False
        self._open = False
        self._port: IListeningPort | None = None
        self._waiting: Waiters[None] = Waiters()

    def open(self) -> Deferred[None]:
        """
        :returns: a Deferred that fires when peers can connect, and fails with what the network says.
        :raises NotSupportedError: peers could not tell this client from the others.
        """
        if not self._identity.owned:
            raise NotSupportedError("this network has no identities for clients to be found by")
        waiting = self._waiting.wait()
        if self._open:
            self._waiting.fire(None)
        elif not self._opening:
            self._opening = True
            self._identity.alone.addCallback(self._listen)
        return waiting

    def _listen(self, _: object) -> None:
        self._identity.network.listen(Inbound(self._identity)).addCallbacks(self._opened, self._failed)

    def close(self) -> Deferred[Any]:
        """The identity ends, unless its client comes back.  :returns: a Deferred that fires when the network knows."""
        port, self._port = self._port, None
        self._open = False
        if port is None:
            return succeed(None)
        self._opening = False
        stopped: Deferred[Any] = maybeDeferred(port.stopListening)
        return stopped

    def _opened(self, port: IListeningPort) -> None:
        self._open = True
        self._port = port
        self._waiting.fire(None)

    def _failed(self, failure: Failure) -> None:
        self._opening = False
        self._waiting.fail(failure)
