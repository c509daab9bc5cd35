"""
One call of ``connect``: from the public key to a protocol that is connected, or to what was in the way.

*Labels.*  What a network's streams are bound to may not be certain.  The client speaks first, and so it has to choose;
a server that calls it otherwise ends the connection, and may have said what it calls it, or not.  Then all begins anew
with that label, or the next one; and what a server has understood is what later attempts begin with.

:source: spec/connect.md, section 1.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure

from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.errors import ConnectCancelledError, HandshakeError, SpaceswarmError, StreamResetError
from spaceswarm_proxy.peering.connection import Connection
from spaceswarm_proxy.peering.connector import ConnectOptions, Connector
from spaceswarm_proxy.peering.runner import PeeringRunner
from spaceswarm_proxy.peering.securing import Securing
from spaceswarm_proxy.secret.connection import Build, SecretConnection
from spaceswarm_proxy.secret.transport import SecretTransport

#: The violation of a server that is bound to another label than we have chosen.
_OTHER_LABEL = "other-label"


class Attempt:
    """First a way is looked for, then the server has to be heard on it."""

    def __init__(
        self,
        peering: PeeringRunner,
        securing: Securing,
        key_pair: KeyPair,
        build: Build,
        keep_alive: float,
        timeout: float,
    ) -> None:
        """
        :param key_pair: who we are.
        :param build: makes the user's protocol, when the server has been heard.
        :param keep_alive, timeout: seconds.
        """
        self.result: Deferred[IProtocol] = Deferred(self._cancelled)
        self._peering = peering
        self._securing = securing
        self._key_pair = key_pair
        self._build = build
        self._keep_alive = keep_alive
        self._timeout = timeout
        # Those that were not tried yet; the first one is under way.
        self._labels = securing.labels
        self._public_key = b""
        self._options = ConnectOptions()
        #: The way that was found, before the server is heard on it.
        self.connection: Connection | None = None
        self._connector: Connector | None = None
        self._secret: SecretConnection | None = None

    def start(self, public_key: bytes, options: ConnectOptions) -> None:
        """
        :raises ValueError: the key has another length.
        :raises SpaceswarmError: the node is closed or suspended.
        """
        self._public_key, self._options = public_key, options
        self._begin()

    def _begin(self) -> None:
        peering = self._peering
        self._secret = None
        self._connector = peering.core.connect(
            self._public_key, self._key_pair, self._found, peering.now(), self._options
        )
        peering.arm()

    def _found(self, found: Connection | SpaceswarmError, now: float) -> None:
        if isinstance(found, SpaceswarmError):
            self.result.errback(found)
            return
        self.connection = found
        key = self._key_pair.public_key
        self._secret = self._securing.secure(
            found, key, self._heard, self._keep_alive, self._timeout, labels=self._labels
        )
        self._secret.opened.addCallbacks(self._opened, self._not_opened)

    def _heard(self, transport: SecretTransport) -> IProtocol | None:
        """The server has been heard.  If it has another label than we have, it will not understand us."""
        label = transport.label
        if label != self._labels[0]:
            raise HandshakeError(_OTHER_LABEL, str(label))
        return self._build(transport)

    def _opened(self, protocol: IProtocol) -> None:
        self._securing.understood(self._labels[0])
        self.result.callback(protocol)

    def _not_opened(self, failure: Failure) -> None:
        self._peering.core.forget_route(self._public_key)
        self._labels = self._labels_after(failure.value)
        if not self._labels:
            self.result.errback(failure)
            return
        try:
            self._begin()
        except SpaceswarmError as problem:
            self.result.errback(problem)

    def _labels_after(self, problem: BaseException) -> tuple[str, ...]:
        """:returns: the labels that are worth another attempt."""
        if isinstance(problem, HandshakeError) and problem.kind == _OTHER_LABEL:
            return (problem.detail,)
        if isinstance(problem.__cause__, StreamResetError) and not self._securing.is_certain:
            return self._labels[1:]
        return ()

    def _cancelled(self, result: Deferred[IProtocol]) -> None:
        if self._secret is not None:
            self._secret.opened.cancel()
        elif self._connector is not None:
            self._connector.cancel(self._peering.now())
            result.errback(ConnectCancelledError())
