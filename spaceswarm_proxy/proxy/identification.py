"""Who a client of the server is, by what it says in READY and IDENTIFY."""

from __future__ import annotations

from secrets import token_bytes
from typing import TYPE_CHECKING

from spaceswarm_proxy.crypto.keeper import CHALLENGE_LENGTH, proof_signable
from spaceswarm_proxy.crypto.keys import SECRET_KEY_LENGTH, SEED_LENGTH, KeyPair, verify
from spaceswarm_proxy.errors import EventError
from spaceswarm_proxy.proxy.features import Feature
from spaceswarm_proxy.proxy.wire import Event

if TYPE_CHECKING:
    from spaceswarm_proxy.proxy.identity import Identity
    from spaceswarm_proxy.proxy.server_link import ServerLink


class Identification:
    """
    That of one link's client.

    A client may give its secret key, in READY; say that it would rather keep it, and then prove that it has it, in
    IDENTIFY; or give it then, as the server can't do without.  Who does none of this is somebody new.
    """

    __slots__ = ("_challenge", "_link", "known")

    def __init__(self, link: ServerLink) -> None:
        self._link = link
        #: As whom the client is known by now.
        self.known: Identity | None = None
        # What the client has to sign.
        self._challenge = b""

    @property
    def is_missing(self) -> bool:
        """Is the client to say who it is, before anything else?"""
        return self.known is None and Feature.END_TO_END in self._link.features

    @property
    def identity(self) -> Identity:
        """
        As whom the client is known; made when it is first needed.

        :raises EventError: it is to say who it is, and has not.
        """
        if self.is_missing:
            raise EventError("not-identified")
        return self.known or self._enter(None)

    def greet(self, event: Event, answer: Event) -> None:
        """
        :param event: the client's READY.
        :param answer: the server's, to which is added what concerns this.
        :raises EventError: the client's key is none.
        """
        link = self._link
        if Feature.END_TO_END in link.features:
            self._challenge = answer.token = token_bytes(CHALLENGE_LENGTH)
            profile = link.server.network.profile  # type: ignore[attr-defined]  # it is an ISealedNetwork
            answer.profile, answer.data = profile.name, "\n".join(profile.stream_labels).encode()
        elif Feature.IDENTITY in link.features and not (event.features or 0) & Feature.END_TO_END.value:
            answer.key = self._enter(_given(event.key)).network.public_key

    def identify(self, event: Event) -> Identity:
        """
        :param event: IDENTIFY.
        :raises EventError: it proves nothing, or comes too late.
        :raises SpaceswarmError: the network can't do it any more.
        """
        if self.known is not None:
            raise EventError("identified-twice")
        return self._enter(self._proved(event) if self.is_missing else _given(event.key))

    def _proved(self, event: Event) -> bytes:
        """:returns: the public key that an IDENTIFY proves to be the client's."""
        key = event.key or b""
        if not verify(event.data or b"", proof_signable(self._challenge), key):
            raise EventError("bad-proof")
        return key

    def _enter(self, key: KeyPair | bytes | None) -> Identity:
        self.known = self._link.server.identities.enter(self._link, key)
        return self.known


def _given(key: bytes | None) -> KeyPair | None:
    """
    The key pair that a client gives.

    :param key: nothing (a fresh one), a seed of 32 bytes or a secret key of 64.
    :raises EventError: another length.
    """
    if not key:
        return None
    if len(key) not in (SEED_LENGTH, SECRET_KEY_LENGTH):
        raise EventError("bad-key", f"{len(key)} bytes")
    return KeyPair.from_seed(key[:SEED_LENGTH])
