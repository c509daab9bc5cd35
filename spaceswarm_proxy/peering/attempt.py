"""
One call of ``connect``: from the public key to a protocol that is connected, or to what was in the way.

What a network's streams are bound to may not be certain (:mod:`spaceswarm_proxy.secret.labels`): then all may begin
anew with another label.  Where the stream is sealed, this is up to whoever has the keys.

:source: spec/connect.md, section 1.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure

from spaceswarm_proxy.crypto.keeper import Keeper
from spaceswarm_proxy.errors import ConnectCancelledError, SpaceswarmError
from spaceswarm_proxy.peering.connection import Connection
from spaceswarm_proxy.peering.connector import ConnectOptions, Connector
from spaceswarm_proxy.peering.runner import PeeringRunner
from spaceswarm_proxy.peering.sealing import Build as SealedBuild, Sealing
from spaceswarm_proxy.peering.securing import Securing
from spaceswarm_proxy.secret.connection import Build
from spaceswarm_proxy.secret.labels import check_label
from spaceswarm_proxy.secret.transport import SecretTransport


class WayFinder:
    """An attempt: first a way is looked for, then it is made use of."""

    def __init__(self, peering: PeeringRunner, keeper: Keeper, timeout: float) -> None:
        """
        :param keeper: keeps the key that we are known by.
        :param timeout: seconds in which the server has to be heard, when there is a way.
        """
        self.result: Deferred[IProtocol] = Deferred(self._cancelled)
        #: The way that was found, before the server is heard on it.
        self.connection: Connection | None = None
        self._peering = peering
        self._keeper = keeper
        self._timeout = timeout
        self._public_key = b""
        self._options = ConnectOptions()
        self._connector: Connector | None = None
        # What is made of the way.
        self._opening: Deferred[IProtocol] | None = None

    def start(self, public_key: bytes, options: ConnectOptions) -> None:
        """
        :raises ValueError: the key has another length.
        :raises SpaceswarmError: the node is closed or suspended.
        """
        self._public_key, self._options = public_key, options
        self._begin()

    def _begin(self) -> None:
        peering = self._peering
        self._opening = None
        self._connector = peering.core.connect(
            self._public_key, self._keeper, self._found, peering.now(), self._options
        )
        peering.arm()

    def _found(self, found: Connection | SpaceswarmError, now: float) -> None:
        if isinstance(found, SpaceswarmError):
            self.result.errback(found)
            return
        self.connection = found
        self._opening = self._open(found)
        self._opening.addCallbacks(self._opened, self._not_opened)

    def _open(self, connection: Connection) -> Deferred[IProtocol]:
        raise NotImplementedError

    def _opened(self, protocol: IProtocol) -> None:
        self.result.callback(protocol)

    def _not_opened(self, failure: Failure) -> None:
        self.result.errback(failure)

    def _cancelled(self, result: Deferred[IProtocol]) -> None:
        if self._opening is not None:
            self._opening.cancel()
        elif self._connector is not None:
            self._connector.cancel(self._peering.now())
            result.errback(ConnectCancelledError())


class Attempt(WayFinder):
    """One with a key of our own: the server has to be heard, in the encrypted stream."""

    def __init__(
        self,
        peering: PeeringRunner,
        securing: Securing,
        keeper: Keeper,
        build: Build,
        keep_alive: float,
        timeout: float,
    ) -> None:
        """
        :param build: makes the user's protocol, when the server has been heard.
        :param keep_alive, timeout: seconds.
        """
        super().__init__(peering, keeper, timeout)
        self._securing = securing
        self._build = build
        self._keep_alive = keep_alive
        # Those that were not tried yet; the first one is under way.
        self._labels = securing.labels.all

    def _open(self, connection: Connection) -> Deferred[IProtocol]:
        key = self._keeper.public_key
        secret = self._securing.secure(
            connection, key, self._heard, self._keep_alive, self._timeout, labels=self._labels
        )
        return secret.opened

    def _heard(self, transport: SecretTransport) -> IProtocol | None:
        """The server has been heard."""
        check_label(self._labels[0], transport.label)
        return self._build(transport)

    def _opened(self, protocol: IProtocol) -> None:
        self._securing.labels.understood(self._labels[0])
        super()._opened(protocol)

    def _not_opened(self, failure: Failure) -> None:
        self._peering.core.forget_route(self._public_key)
        self._labels = self._securing.labels.left(self._labels, failure.value)
        if not self._labels:
            super()._not_opened(failure)
            return
        try:
            self._begin()
        except SpaceswarmError as problem:
            self.result.errback(problem)


class SealedAttempt(WayFinder):
    """One with a key that is kept elsewhere: that there is a way is all."""

    def __init__(
        self, peering: PeeringRunner, sealing: Sealing, keeper: Keeper, build: SealedBuild, timeout: float
    ) -> None:
        """:param build: makes the user's protocol, when there is a way."""
        super().__init__(peering, keeper, timeout)
        self._sealing = sealing
        self._build = build

    def _open(self, connection: Connection) -> Deferred[IProtocol]:
        return self._sealing.open(connection, self._keeper.public_key, self._build, self._timeout, self._heard)

    def _heard(self, is_heard: bool) -> None:
        if not is_heard:
            self._peering.core.forget_route(self._public_key)
