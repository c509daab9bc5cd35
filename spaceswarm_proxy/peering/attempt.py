"""One call of ``connect``: from the public key to a protocol that is connected, or to what was in the way."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure

from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.errors import ConnectCancelledError, SpaceswarmError
from spaceswarm_proxy.peering.connection import Connection
from spaceswarm_proxy.peering.connector import ConnectOptions, Connector
from spaceswarm_proxy.peering.runner import PeeringRunner
from spaceswarm_proxy.peering.securing import Securing
from spaceswarm_proxy.secret.connection import Build, SecretConnection


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
        #: The way that was found, before the server is heard on it.
        self.connection: Connection | None = None
        self._connector: Connector | None = None
        self._secret: SecretConnection | None = None

    def start(self, public_key: bytes, options: ConnectOptions) -> None:
        """
        :raises ValueError: the key has another length.
        :raises SpaceswarmError: the node is closed or suspended.
        """
        peering = self._peering
        self._connector = peering.core.connect(public_key, self._key_pair, self._found, peering.now(), options)
        peering.arm()

    def _found(self, found: Connection | SpaceswarmError, now: float) -> None:
        if isinstance(found, SpaceswarmError):
            self.result.errback(found)
            return
        self.connection = found
        key = self._key_pair.public_key
        self._secret = self._securing.secure(found, key, self._build, self._keep_alive, self._timeout)
        self._secret.opened.addCallbacks(self.result.callback, self._not_opened)

    def _not_opened(self, failure: Failure) -> None:
        self._peering.core.forget_route(self._connector.public_key if self._connector else b"")
        self.result.errback(failure)

    def _cancelled(self, result: Deferred[IProtocol]) -> None:
        if self._secret is not None:
            self._secret.opened.cancel()
        elif self._connector is not None:
            self._connector.cancel(self._peering.now())
            result.errback(ConnectCancelledError())
