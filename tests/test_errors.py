"""Tests of spaceswarm_proxy.errors."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given, settings, strategies as st
from twisted.internet import error
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy import errors
from spaceswarm_proxy.errors import BY_CODE, LimitError, ProtocolError, SpaceswarmError, from_code, to_code

PROTOCOL = Path(__file__).resolve().parent.parent / "docs" / "protocol.md"

#: Of ``hyperdht`` 6, as far as a caller may see them; spec/connect.md, section 11.
REFERENCE_CODES = """
    PEER_NOT_FOUND PEER_CONNECTION_FAILED BAD_HANDSHAKE_REPLY BAD_HOLEPUNCH_REPLY SERVER_INCOMPATIBLE SERVER_ERROR
    HANDSHAKE_INVALID CANNOT_HOLEPUNCH HOLEPUNCH_ABORTED HOLEPUNCH_INVALID HOLEPUNCH_PROBE_TIMEOUT
    HOLEPUNCH_DOUBLE_RANDOMIZED_NATS REMOTE_ABORTED REMOTE_NOT_HOLEPUNCHING REMOTE_NOT_HOLEPUNCHABLE RELAY_ABORTED
    SUSPENDED DUPLICATE_CONNECTION ALREADY_LISTENING KEYPAIR_ALREADY_USED NODE_DESTROYED
"""

classes = st.sampled_from(sorted(BY_CODE.values(), key=lambda cls: cls.code))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def subclasses(cls: type[SpaceswarmError]) -> list[type[SpaceswarmError]]:
    """The class, and all below it, once each."""
    return list(dict.fromkeys([cls, *(each for sub in cls.__subclasses__() for each in subclasses(sub))]))


class TreeTests(SynchronousTestCase):
    """One tree, and its place among Twisted's."""

    def test_codes(self) -> None:
        """Each class has a code of its own, in lower case, and is found by it."""
        everybody = [cls for cls in subclasses(SpaceswarmError) if cls.__module__ == errors.__name__]
        self.assertEqual(len({cls.code for cls in everybody}), len(everybody))
        for cls in everybody:
            self.assertIn("code", vars(cls))
            self.assertRegex(cls.code, "^[a-z]+(-[a-z]+)*$")
            self.assertIs(BY_CODE[cls.code], cls)

    def test_wire(self) -> None:
        """The codes that the protocol names are there, and stay."""
        named = {"limit", "unauthorized", "not-supported", "connect-failed", "unknown-peer", "unreachable"}
        named |= {"connect-timeout", "firewalled", "cancelled", "reset", "aborted", "duplicate", "stalled"}
        named |= {"window-exceeded", "link-lost", "link-timeout", "draining", "closed", "protocol-error"}
        self.assertEqual(named - set(BY_CODE), set())

    def test_documented(self) -> None:
        """``docs/protocol.md`` has every code, and says of it what its class does."""
        rows = re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", PROTOCOL.read_text(encoding="utf-8"), re.MULTILINE)
        said = {code: meaning for code, meaning in rows if code in BY_CODE}
        self.assertEqual(said, {code: (cls.__doc__ or "").splitlines()[0].rstrip(".") for code, cls in BY_CODE.items()})

    def test_twisted(self) -> None:
        """Twisted's own code knows them for what they are."""
        for cls, base in (
            (errors.ConnectError, error.ConnectError),
            (errors.ConnectTimeoutError, error.TimeoutError),
            (errors.StreamError, error.ConnectionLost),
            (errors.StreamAbortedError, error.ConnectionAborted),
            (errors.LinkError, error.ConnectionLost),
        ):
            for each in subclasses(cls):
                self.assertTrue(issubclass(each, base), each)
                self.assertTrue(issubclass(each, error.ConnectError | error.ConnectionClosed), each)

    def test_said_without_a_text(self) -> None:
        """Without a text of its own, an error says what its class is."""
        for cls in BY_CODE.values():
            if not issubclass(cls, (LimitError, ProtocolError)):
                name = f"{cls.reference_code}: " if issubclass(cls, errors.PeeringError) and cls.reference_code else ""
                self.assertEqual(str(cls()), name + (cls.__doc__ or "").splitlines()[0])
                self.assertEqual(str(cls("this one")), name + "this one")

    def test_reference(self) -> None:
        """Whatever the JavaScript implementation names has one class here, and the name stands before the text once."""
        named = [cls.reference_code for cls in BY_CODE.values() if cls.reference_code]
        self.assertEqual(sorted(set(named)), sorted(named))
        self.assertEqual(set(REFERENCE_CODES.split()), set(named))
        problem = errors.HolepunchAbortedError("HOLEPUNCH_ABORTED: the server left")
        self.assertEqual(str(problem), "HOLEPUNCH_ABORTED: the server left")

    def test_protocol_error(self) -> None:
        """A violation has a kind to count it under and a detail for the log."""
        problem = errors.FrameError("frame-too-large", "9 bytes")
        self.assertEqual((problem.kind, problem.detail, problem.decoded), ("frame-too-large", "9 bytes", []))
        self.assertEqual(str(problem), "frame-too-large: 9 bytes")
        self.assertEqual(str(errors.EventError("no-type")), "no-type")

    def test_limit(self) -> None:
        """A limit's error names the limit, and its value as one would write it."""
        self.assertEqual(str(LimitError("max_topics")), "the limit max_topics is reached")
        self.assertEqual(str(LimitError("max_buffered", 4194304)), "the limit max_buffered is reached (4194304)")
        self.assertEqual(str(LimitError("connect_timeout", 0.1)), "the limit connect_timeout is reached (0.1)")


class TravelTests(SynchronousTestCase):
    """Errors over a link."""

    @settings(deadline=None)
    @given(classes, texts)
    def test_round_trip(self, cls: type[SpaceswarmError], text: str) -> None:
        """What is told of an error at one end is what is raised at the other, of every class and with any text."""
        problem = from_code(cls.code, text)
        self.assertIs(type(problem), cls)
        again = from_code(*to_code(problem))
        self.assertEqual((type(again), str(again)), (cls, str(problem)))

    @settings(deadline=None)
    @given(st.from_regex("[a-z_]+", fullmatch=True), st.none() | st.integers(0, 2**53) | st.floats(0, 1e300))
    def test_limit(self, name: str, value: float | None) -> None:
        """A limit's name and value arrive to the last digit."""
        problem = from_code(*to_code(LimitError(name, value)))
        assert isinstance(problem, LimitError)
        self.assertEqual((problem.name, problem.limit), (name, value))

    @settings(deadline=None)
    @given(st.from_regex("[a-z-]+", fullmatch=True), texts)
    def test_violation(self, kind: str, detail: str) -> None:
        """A violation's kind and detail arrive apart."""
        problem = from_code(*to_code(errors.EventError(kind, detail)))
        assert isinstance(problem, errors.EventError)
        self.assertEqual((problem.kind, problem.detail), (kind, detail))

    @settings(deadline=None)
    @given(st.text(max_size=20), st.text(max_size=20))
    def test_anything(self, code: str, text: str) -> None:
        """Whatever a remote may say is an error of ours, whose code and text UTF-8 can carry on."""
        problem = from_code(code, text)
        self.assertIsInstance(problem, SpaceswarmError)
        for part in to_code(problem):
            part.encode()

    def test_unknown_code(self) -> None:
        """A code from the future is a plain error that names it."""
        problem = from_code("too-purple", "mauve at most")
        self.assertIs(type(problem), SpaceswarmError)
        self.assertEqual(str(problem), "too-purple: mauve at most")

    def test_limit_without_a_number(self) -> None:
        """A limit whose value is no number is a limit all the same."""
        problem = from_code("limit", "max_topics=many")
        assert isinstance(problem, LimitError)
        self.assertEqual((problem.name, problem.limit), ("max_topics", None))

    def test_others(self) -> None:
        """What is not ours is told as unreachable, or as an error, with its text or its name."""
        self.assertEqual(to_code(error.ConnectionRefusedError(string="no"))[0], "unreachable")
        self.assertEqual(to_code(KeyError("x")), ("error", "'x'"))
        self.assertEqual(to_code(ValueError()), ("error", "ValueError"))

    def test_not_utf8(self) -> None:
        """A text that UTF-8 does not know, from a file's name perhaps, travels with question marks."""
        self.assertEqual(to_code(OSError("no \udcff here")), ("error", "no ? here"))
