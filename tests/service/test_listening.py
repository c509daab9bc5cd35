"""Who can reach an endpoint: :mod:`spaceswarm_proxy.service.listening`."""

from __future__ import annotations

from hypothesis import assume, example, given, settings as hypothesis_settings, strategies as st
from twisted.internet import endpoints
from twisted.internet.endpoints import quoteStringArgument
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.service import listening as module
from spaceswarm_proxy.service.listening import (
    check_exposure,
    endpoint,
    is_loopback,
    listening,
    tokens_in_clear,
    with_port,
    without_secrets,
)
from spaceswarm_proxy.service.settings import Settings, SettingsError


def around(text: str) -> str:
    """WebSockets around another endpoint."""
    return f"ws:endpoint={quoteStringArgument(text)}"


def secret(text: str, more: str = "", name: str = "endpoint=") -> str:
    """The encrypted stream over another endpoint."""
    return f"secret:{name}{quoteStringArgument(text)}:key=k.seed{more}"


LOCAL = (
    "tcp:4978:interface=127.0.0.1",
    "tcp:4978:127.0.0.1",
    "tcp:port=4978:interface=127.9.9.9",
    "tcp:4978:interface=localhost",
    r"tcp:4978:interface=\:\:1",
    r"tcp6:4978:interface=\:\:1",
    r"tcp6:4978:50:\:\:1",
    "ssl:4978:privateKey=k.pem:interface=127.0.0.1",
    "ws:4977",
    "ws:4977:interface=127.0.0.1:path=/a",
    around("tcp:1:interface=127.0.0.1"),
    around(around("unix:/run/a")),
    secret("tcp:1:interface=127.0.0.1"),
    secret("unix:/run/a", name=""),
    around(secret("unix:/run/a")),
    "unix:/run/a",
    "unix:/run/a:mode=600",
    "systemd:domain=UNIX:index=0",
    "stdio:",
    "haproxy:tcp:1:interface=127.0.0.1",
)
OPEN = (
    "tcp:4978",
    "tcp:4978:",
    "tcp:4978:interface=",
    "tcp:4978:interface=0.0.0.0",
    "tcp:4978:interface=10.0.0.1",
    "tcp:4978:interface=example.org",
    "tcp:4978:interface=localhost.example.org",
    "tcp6:4978",
    r"tcp6:4978:\:\:1",
    "ssl:4978:privateKey=k.pem",
    "ws:4977:",
    "ws:4977:interface=",
    "ws:4977:interface=0.0.0.0",
    r"ws:4977:int\erface=0.0.0.0",
    around("tcp:1"),
    secret("tcp:1"),
    secret("tcp:1", name=""),
    secret("ws:4977:interface=0.0.0.0"),
    "secret:key=k.seed",
    "systemd:domain=INET:index=0",
    "haproxy:tcp:1",
    "elsewhere:1:interface=127.0.0.1",
    "interface=127.0.0.1:tcp:1",
    "",
)
CERTIFIED = (
    "mtls:4978:clientCA=ca.pem",
    around("mtls:4978:clientCA=ca.pem"),
    secret("tcp:4978", f":clients={'ab' * 32}"),
    secret("tcp:4978", f":clients={'ab' * 32}", name=""),
    around(secret("tcp:4978", ":clients=")),
    secret("mtls:4978:clientCA=ca.pem"),
)


class ReachTests(SynchronousTestCase):
    """What a text tells."""

    def test_local(self) -> None:
        """The loopback, by whatever name, and UNIX sockets are for this machine's users only."""
        for text in LOCAL:
            self.assertTrue(listening(text).local, text)
            self.assertEqual(text, listening(text).text)

    def test_open(self) -> None:
        """All other interfaces, all interfaces at once, names, and kinds that we do not know may be for anybody."""
        for text in OPEN + CERTIFIED:
            self.assertFalse(listening(text).local, text)

    def test_certified(self) -> None:
        """Only ``mtls:`` asks for certificates."""
        self.assertEqual(list(CERTIFIED), [text for text in LOCAL + OPEN + CERTIFIED if listening(text).certified])

    def test_names(self) -> None:
        """A name is not looked up; only one is known."""
        self.assertTrue(is_loopback("LocalHost"))
        self.assertFalse(is_loopback("localhost."))

    def test_port(self) -> None:
        """A port that can't be is refused before it is tried."""
        for text in ("tcp:65536:interface=127.0.0.1", around("tcp:65536"), secret("tcp:65536"), "haproxy:tcp:65536"):
            problem = self.assertRaises(SettingsError, listening, text, "metrics")
            self.assertIn("metrics: tcp:65536", str(problem))

    @hypothesis_settings(deadline=None, max_examples=300)
    @given(st.text("ab\\:=0", max_size=12))
    @example("a:\\")
    def test_syntax(self, text: str) -> None:
        """We read a text as Twisted does: else it could listen elsewhere than we think."""
        try:
            positional, named = endpoints._parse(f"x:{text}")
        except RuntimeError:  # a backslash at the end
            assume(False)
        names = tuple(f"#{number}" for number in range(len(positional)))
        expected = dict(zip(names, positional[1:], strict=False)) | named
        self.assertEqual(expected, module._arguments(names, module._split(f"x:{text}")[1:]))


class ExposureTests(SynchronousTestCase):
    """Strangers stay out unless they are asked in."""

    def test_local(self) -> None:
        """On this machine nothing is asked of the operator; nor with the defaults."""
        check_exposure(Settings())
        check_exposure(Settings(listen=LOCAL))

    def test_refused(self) -> None:
        """One open endpoint is enough to be refused, with the ways out named."""
        for text in OPEN:
            problem = self.assertRaises(SettingsError, check_exposure, Settings(listen=(*LOCAL, text)))
            for part in (text, "--token-file", "mtls:", "--allow-anyone", "interface=127.0.0.1"):
                self.assertIn(part, str(problem))

    def test_certificates(self) -> None:
        """Client certificates are enough, where they are asked for."""
        check_exposure(Settings(listen=CERTIFIED))
        self.assertRaises(SettingsError, check_exposure, Settings(listen=(*CERTIFIED, "tcp:1")))

    def test_tokens_or_word(self) -> None:
        """So are tokens, and the operator's word."""
        check_exposure(Settings(listen=OPEN, token_file="tokens"))
        check_exposure(Settings(listen=OPEN, allow_anyone=True))

    def test_metrics(self) -> None:
        """Metrics are for this machine alone, or who has a certificate: tokens are not asked for there."""
        for text in (*LOCAL, *CERTIFIED):
            check_exposure(Settings(metrics=text))
        for text in OPEN:
            check_exposure(Settings(metrics=text, allow_anyone=True))
            problem = self.assertRaises(SettingsError, check_exposure, Settings(metrics=text, token_file="tokens"))
            for part in (f"metrics: {text} ", "mtls:", "--allow-anyone", "interface=127.0.0.1"):
                self.assertIn(part, str(problem))

    def test_in_clear(self) -> None:
        """Tokens that come in from elsewhere as plain text are worth a warning."""
        listen = ("tcp:1", "ws:1:interface=", "ssl:1", *CERTIFIED, *LOCAL)
        self.assertEqual(["tcp:1", "ws:1:interface="], tokens_in_clear(Settings(listen=listen, token_file="tokens")))
        self.assertEqual([], tokens_in_clear(Settings(listen=listen, allow_anyone=True)))


class PortTests(SynchronousTestCase):
    """The text with the real port in it."""

    def test_port(self) -> None:
        """The port takes the place of the 0, at any depth, and of nothing else."""
        for text, expected in (
            ("tcp:0:interface=127.0.0.1", "tcp:77:interface=127.0.0.1"),
            ("tcp:interface=127.0.0.1:port=0:backlog=0", "tcp:interface=127.0.0.1:port=77:backlog=0"),
            ("tcp:4978", "tcp:4978"),
            (r"tcp6:0:0:\:\:1", r"tcp6:77:0:\:\:1"),
            ("haproxy:tcp:0", "haproxy:tcp:77"),
            (around("tcp:0:interface=127.0.0.1"), around("tcp:77:interface=127.0.0.1")),
            (secret("tcp:0:interface=127.0.0.1"), secret("tcp:77:interface=127.0.0.1")),
            (secret("tcp:0", name=""), secret("tcp:77")),
            (around(secret("tcp:0")), around(secret("tcp:77"))),
            ("secret", "secret"),
            ("odd", "odd"),
        ):
            self.assertEqual(expected, with_port(text, 77))


class EndpointTests(SynchronousTestCase):
    """From text to endpoint."""

    def test_endpoint(self) -> None:
        """A good text is an endpoint."""
        reactor = MemoryReactorClock()
        for text in ("tcp:1", "ws:1", around("unix:/run/a")):
            endpoint(reactor, text)

    def test_refused(self) -> None:
        """Whatever the parser raises becomes one line with the text in it, and none of our functions' names."""
        for text, expected in (
            ("", "Unknown endpoint type: ''"),
            ("frob:1", "Unknown endpoint type: 'frob'"),
            ("tcp", "missing 1 required positional argument: 'port'"),
            ("tcp:x", "invalid literal for int() with base 10: 'x'"),
            ("tcp:1:\\", "generator raised StopIteration"),
            ("ws:", "a ws server needs either a port or an endpoint"),
            ("ssl:1:privateKey=/nowhere/key.pem", "No such file or directory"),
        ):
            problem = self.assertRaises(SettingsError, endpoint, MemoryReactorClock(), text)
            self.assertTrue(str(problem).startswith(f"listen: {text}: "), problem)
            self.assertIn(expected, str(problem))


class SecretsTests(SynchronousTestCase):
    """What logs may show."""

    def test_key(self) -> None:
        """A seed that stands in the text itself is not shown; the name of its file is, and so are public keys."""
        seed, public = "5e" * 32, "ab" * 32
        for text in (f"secret:tcp\\:1:key={seed}:clients={public}", f"secret:tcp\\:1:{seed}:clients={public}"):
            self.assertEqual(f"secret:tcp\\:1:key=...:clients={public}", without_secrets(text))
        for text in ("tcp:0", secret("tcp:1")):
            self.assertEqual(text, without_secrets(text))
