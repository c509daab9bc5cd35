"""Tests of spaceswarm_proxy.crypto.profile."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto.profile import HYPERSWARM, PROFILES, SPACESWARM, Profile, profile_named
from tests.dht.vectors import vectors


class NamespaceTests(SynchronousTestCase):
    """What a profile's signatures are bound to."""

    def test_vectors(self) -> None:
        """Each namespace of each profile is that of the JavaScript package with this label."""
        rows = {row["name"]: row["namespaces"] for row in vectors("namespaces")}
        self.assertEqual(set(rows), {profile.label for profile in PROFILES.values()})
        for profile in PROFILES.values():
            ours = {
                "PEER_HANDSHAKE": profile.peer_handshake,
                "PEER_HOLEPUNCH": profile.peer_holepunch,
                "ANNOUNCE": profile.announce,
                "UNANNOUNCE": profile.unannounce,
                "MUTABLE_PUT": profile.mutable_put,
                "PLUGIN": profile.plugin,
            }
            self.assertEqual(
                {name: value.hex() for name, value in ours.items()},
                {name: each["hex"] for name, each in rows[profile.label].items()},
            )

    def test_all_differ(self) -> None:
        """No two profiles, and no two commands, share one."""
        names = ("peer_handshake", "peer_holepunch", "announce", "unannounce", "mutable_put", "plugin")
        everything = {getattr(profile, name) for profile in PROFILES.values() for name in names}
        self.assertEqual(len(everything), 2 * len(names))


class NameTests(SynchronousTestCase):
    """Profiles by their names."""

    def test_by_name(self) -> None:
        """Each of ours is found by its name; one of your own is taken as it is."""
        self.assertIs(profile_named("spaceswarm"), SPACESWARM)
        self.assertIs(profile_named("hyperswarm"), HYPERSWARM)
        own = Profile("mine", "mine/dht", ("mine/stream",), ())
        self.assertIs(profile_named(own), own)

    def test_unknown(self) -> None:
        """For another name one is told which there are."""
        problem = self.assertRaises(ValueError, profile_named, "telegraph")
        self.assertEqual(str(problem), "no profile 'telegraph'; there are spaceswarm, hyperswarm")

    def test_stream_labels(self) -> None:
        """The labels of streams are those that vectors exist for, and those of one's own choice."""
        known = {row["name"] for row in vectors("secret_stream_namespaces")}
        self.assertEqual(set(SPACESWARM.stream_labels), known)
        self.assertLess(set(HYPERSWARM.stream_labels), known)
        other = SPACESWARM.with_stream_label("another")
        self.assertEqual(other.stream_labels, ("another",))
        self.assertEqual((other.name, other.announce), (SPACESWARM.name, SPACESWARM.announce))

    def test_bootstrap(self) -> None:
        """Each has nodes to begin with, whose ports are ports."""
        for profile in PROFILES.values():
            self.assertGreater(len(profile.bootstrap), 0)
            for node in profile.bootstrap:
                self.assertRegex(node, r"^\d+\.\d+\.\d+\.\d+@[a-z0-9.]+:\d{4,5}$")
