"""What the service can be told: :mod:`spaceswarm_proxy.service.settings`."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path

from hypothesis import given, settings as hypothesis_settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto.profile import PROFILES
from spaceswarm_proxy.interfaces import HostPort
from spaceswarm_proxy.proxy.limits import Limits
from spaceswarm_proxy.service.settings import (
    LOG_LEVELS,
    NETWORKS,
    Settings,
    SettingsError,
    TCPService,
    as_toml,
    build,
    from_text,
    load,
    own_fields,
    read_tokens,
)
from spaceswarm_proxy.topics import topic

TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1)
SETTINGS = st.builds(
    Settings,
    listen=st.lists(TEXT, min_size=1).map(tuple),
    network=st.sampled_from(NETWORKS),
    profile=st.sampled_from(tuple(PROFILES)),
    bootstrap=st.lists(st.integers(1, 65535).map(lambda port: f"a.example:{port}")).map(tuple),
    host=st.ip_addresses(v=4).map(str),
    port=st.none() | st.integers(0, 65535),
    state=st.none() | TEXT.map(os.path.abspath),
    ephemeral=st.none() | st.booleans(),
    identity_grace=st.floats(0, 1e6),
    announce=st.none() | st.booleans(),
    announce_tcp=st.lists(TEXT.map(lambda text: f"{text}=127.0.0.1:80")).map(tuple),
    allow_anyone=st.booleans(),
    end_to_end=st.booleans(),
    metrics=st.none() | TEXT,
    grace=st.floats(0, 1e6),
    log_level=st.sampled_from(LOG_LEVELS),
    limits=st.builds(Limits, max_clients=st.integers(1, 2**31), ready_timeout=st.floats(0.1, 1e6)),
)


class FileTests(SynchronousTestCase):
    """The configuration file."""

    def write(self, text: str) -> str:
        path = Path(self.mktemp())
        path.write_text(text, encoding="utf-8")
        return str(path)

    @hypothesis_settings(deadline=None, max_examples=50)
    @given(SETTINGS)
    def test_round_trip(self, settings: Settings) -> None:
        """What is printed of the settings is a file that sets the same."""
        self.assertEqual(settings, build(load(self.write(as_toml(settings)))))

    def test_spelling(self) -> None:
        """Names may be spelled as on the command line."""
        found = load(self.write('log-level = "warn"\n[limits]\nmax-clients = 3\nready_timeout = 2\n'))
        self.assertEqual({"log_level": "warn", "limits": {"max_clients": 3, "ready_timeout": 2.0}}, found)

    def test_refused(self) -> None:
        """What is wrong is said in one line, with the file and the key."""
        for text, expected in (
            ("frob = 1", "frob: there is no such setting"),
            ("max_clients = 1", "max_clients: there is no such setting; it belongs under [limits]"),
            ("[limits]\nfrob = 1", "limits.frob: there is no such setting"),
            ("limits = 1", "limits must be a table: [limits]"),
            ("grace = true", "grace: must be a number, not True"),
            ("grace = '1'", "grace: must be a number, not '1'"),
            ("grace = nan", "grace: must be a number, not nan"),
            ("[limits]\nmax-clients = 1.5", "limits.max-clients: must be a whole number, not 1.5"),
            ("listen = 'tcp:1'", "listen: must be a list of texts, not 'tcp:1'"),
            ("listen = [1]", "listen: must be a list of texts, not [1]"),
            ("allow-anyone = 1", "allow-anyone: must be true or false, not 1"),
            ("log-level = 'info'\nlog_level = 'info'", "log_level: it is set twice"),
        ):
            path = self.write(text)
            problem = self.assertRaises(SettingsError, load, path)
            self.assertEqual(f"config: {path}: {expected}", str(problem))

    def test_no_toml(self) -> None:
        """A file that is no TOML, or no text, or is not there, is named."""
        latin = self.write("")
        Path(latin).write_bytes(b'network = "\xe9"')
        for path in (self.write("listen"), latin, self.mktemp()):
            self.assertIn(path, str(self.assertRaises(SettingsError, load, path)))


class BuildTests(SynchronousTestCase):
    """Settings from several places."""

    def test_later_wins(self) -> None:
        """A later layer wins, limit by limit; a list is replaced as a whole."""
        first = {"listen": ("tcp:1",), "grace": 1.0, "limits": {"max_clients": 1, "max_topics": 2}}
        second = {"listen": ("tcp:2",), "limits": {"max_topics": 3}}
        expected = Settings(listen=("tcp:2",), grace=1.0, limits=Limits(max_clients=1, max_topics=3))
        self.assertEqual(expected, build(first, second))

    def test_refused(self) -> None:
        """Values that can't be are refused, by name."""
        for layer, expected in (
            ({"network": "moon"}, "network: 'moon' is none of: dht, local"),
            ({"profile": "moon"}, "profile: 'moon' is none of: spaceswarm, hyperswarm"),
            ({"bootstrap": ("a.example",)}, "bootstrap: 'a.example' is not HOST:PORT"),
            ({"host": "a.example"}, "host: "),
            ({"port": 65536}, "port: must be 0 to 65535, not 65536"),
            ({"identity_grace": -0.5}, "identity_grace: must not be negative, as -0.5 is"),
            ({"log_level": "loud"}, "log_level: 'loud' is none of: debug, info, warn, error"),
            ({"grace": -1.0}, "grace: must not be negative, as -1 is"),
            ({"listen": ()}, "listen: at least one endpoint is needed"),
            ({"announce_tcp": ("a",)}, "announce_tcp: 'a' is not TOPIC=HOST:PORT"),
            ({"announce_tcp": ("=h:1",)}, "announce_tcp: '=h:1' is not TOPIC=HOST:PORT"),
            ({"announce_tcp": ("a=h:0",)}, "announce_tcp: 'h:0' is not HOST:PORT"),
            ({"announce_tcp": ("\udcff=h:1",)}, "announce_tcp: 'utf-8' codec"),
            ({"limits": {"max_clients": 0}}, "max_clients must be positive, not 0"),
        ):
            self.assertIn(expected, str(self.assertRaises(SettingsError, build, layer)))

    def test_services(self) -> None:
        """A topic may hold equals signs, or be 64 hex digits; an IPv6 address stands in brackets."""
        digits = "0f" * 32
        settings = Settings(announce_tcp=("a=b=[::1]:80", f"{digits}=host:1"))
        expected = [
            TCPService(topic("a=b"), HostPort("::1", 80)),
            TCPService(bytes.fromhex(digits), HostPort("host", 1)),
        ]
        self.assertEqual(expected, settings.services())

    def test_announces(self) -> None:
        """In the local network topics are announced unless forbidden, in the real one if it is asked for."""
        self.assertTrue(Settings(network="local").announces)
        self.assertFalse(Settings(network="local", announce=False).announces)
        self.assertFalse(Settings().announces)
        self.assertTrue(Settings(announce=True).announces)

    def test_node(self) -> None:
        """The node begins where its profile says unless told otherwise; a port that is named is the only one."""
        usual, own = Settings().node_options, Settings(bootstrap=("127.0.0.1:1",), port=5000).node_options
        self.assertEqual((None, None, True), (usual["bootstrap"], usual["port"], usual["any_port"]))
        self.assertEqual((("127.0.0.1:1",), 5000, False), (own["bootstrap"], own["port"], own["any_port"]))

    def test_text(self) -> None:
        """Numbers on the command line are finite."""
        self.assertEqual(1.5, from_text(float, "1.5"))
        for kind, text in ((float, "inf"), (float, "x"), (int, "1.5"), (int, "")):
            self.assertRaises(ValueError, from_text, kind, text)

    def test_help(self) -> None:
        """Every setting and every limit has something to say for itself."""
        for cls in (Settings, Limits):
            for name, each in own_fields(cls).items():
                self.assertTrue(each.metadata["help"].endswith("."), name)
        self.assertEqual(len(fields(Limits)), len(own_fields(Limits)))


class TokenTests(SynchronousTestCase):
    """The token file."""

    def write(self, content: bytes) -> str:
        path = Path(self.mktemp())
        path.write_bytes(content)
        return str(path)

    def test_lines(self) -> None:
        """One token in a line; comments, empty lines and the space around do not count."""
        self.assertEqual((b"one", b"t\xffwo#2"), read_tokens(self.write(b"# ours\n one \r\n\n  # old\nt\xffwo#2")))

    def test_none(self) -> None:
        """A file without tokens, which would let everybody in, is refused, and so is one that isn't there."""
        for path in (self.write(b""), self.write(b"# none\n\n"), self.mktemp()):
            self.assertIn(path, str(self.assertRaises(SettingsError, read_tokens, path)))

    def test_relative(self) -> None:
        """The names of files stay right when the process changes its directory."""
        found = build({"token_file": "tokens", "state": "state"})
        for path in (found.token_file, found.state):
            self.assertTrue(Path(path or "").is_absolute())
