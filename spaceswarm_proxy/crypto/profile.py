"""The names that tell one network from another; all else is the same on the wire."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from spaceswarm_proxy.crypto.hashing import namespace

#: Numbers below a profile's label; also those of the commands.
_PEER_HANDSHAKE, _PEER_HOLEPUNCH, _ANNOUNCE, _UNANNOUNCE, _MUTABLE_PUT, _PLUGIN = 0, 1, 4, 5, 6, 10


@dataclass(frozen=True)
class Profile:
    """
    A network's names.  Two nodes with different ones can ask each other, but trust no signature of the other's kind.

    :source: spec/dht.md, section 13.1; spec/connect.md, section 1.
    """

    name: str
    #: What signatures in the DHT are bound to.
    label: str
    #: What encrypted streams are bound to, the likeliest first.
    stream_labels: tuple[str, ...]
    #: Where nodes begin, each as ``IP@HOST:PORT``, ``HOST:PORT`` or ``IP:PORT``.
    bootstrap: tuple[str, ...]

    @cached_property
    def peer_handshake(self) -> bytes:
        """The namespace of handshakes, 32 bytes; so are the following."""
        return namespace(self.label, _PEER_HANDSHAKE)

    @cached_property
    def peer_holepunch(self) -> bytes:
        """Of hole punching."""
        return namespace(self.label, _PEER_HOLEPUNCH)

    @cached_property
    def announce(self) -> bytes:
        """Of announces."""
        return namespace(self.label, _ANNOUNCE)

    @cached_property
    def unannounce(self) -> bytes:
        """Of their withdrawal."""
        return namespace(self.label, _UNANNOUNCE)

    @cached_property
    def mutable_put(self) -> bytes:
        """Of mutable records."""
        return namespace(self.label, _MUTABLE_PUT)

    @cached_property
    def plugin(self) -> bytes:
        """Of plugins; the DHT itself signs nothing with it."""
        return namespace(self.label, _PLUGIN)

    def with_stream_label(self, label: str) -> Profile:
        """The same network, its streams bound to this label alone."""
        return replace(self, stream_labels=(label,))


HYPERSWARM = Profile(
    name="hyperswarm",
    label="hyperswarm/dht",
    stream_labels=("hyperswarm/secret-stream",),
    bootstrap=(
        "88.99.3.86@node1.hyperdht.org:49737",
        "142.93.90.113@node2.hyperdht.org:49737",
        "138.68.147.8@node3.hyperdht.org:49737",
    ),
)

#: Which string the fork's streams are bound to is not known for certain: the candidates, likeliest first.
SPACESWARM = Profile(
    name="spaceswarm",
    label="spaceswarm/dht",
    stream_labels=(
        "spaceswarm-secret-stream",
        "../spaceswarm-secret-stream",
        "spaceswarm/secret-stream",
        "hyperswarm/secret-stream",
    ),
    bootstrap=("159.69.192.75@space.bsv.direct:49737", "159.69.192.75@space.bsv.direct:8339"),
)

#: By name.
PROFILES = {profile.name: profile for profile in (SPACESWARM, HYPERSWARM)}


def profile_named(profile: Profile | str) -> Profile:
    """
    :param profile: one of ours by its name, or one of your own.
    :raises ValueError: there is none of that name.
    """
    if isinstance(profile, Profile):
        return profile
    try:
        return PROFILES[profile]
    except KeyError:
        raise ValueError(f"no profile {profile!r}; there are {', '.join(PROFILES)}") from None
