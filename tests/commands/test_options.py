"""The arguments that commands share."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.commands import make_parser
from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.commands.options import in_time, key_pair
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.topics import topic

SEED = bytes(range(32))


def parse(*arguments: str) -> Any:
    return make_parser().parse_args(["pipe", "a room", *arguments])


class KeyPairTests(SynchronousTestCase):
    """Who to be."""

    def file(self, content: bytes) -> str:
        path = Path(self.mktemp())
        path.write_bytes(content)
        return str(path)

    def test_nobody(self) -> None:
        """Without a seed, it is left open."""
        self.assertIsNone(key_pair(parse()))

    def test_seed(self) -> None:
        """A seed is who we are, from the command line or a file."""
        for arguments in (("--seed", SEED.hex()), ("--seed-file", self.file(SEED.hex().encode() + b"\n"))):
            self.assertEqual(KeyPair.from_seed(SEED), key_pair(parse(*arguments)))

    def test_bad_files(self) -> None:
        """Files that are not there, or hold something else, are named."""
        for text, path in (
            ("cannot read nowhere", "nowhere"),
            ("cannot read", self.file(b"\xff\xfe")),
            ("64 hex digits", self.file(b"abc")),
        ):
            problem = self.assertRaises(CommandError, key_pair, parse("--seed-file", path))
            self.assertIn(text, str(problem))


class ArgumentTests(SynchronousTestCase):
    """What is found wrong at once."""

    def assert_usage(self, text: str, *arguments: str) -> None:
        errors = io.StringIO()
        self.patch(sys, "stderr", errors)
        ended = self.assertRaises(SystemExit, parse, *arguments)
        self.assertEqual(2, ended.code)
        self.assertIn(text, errors.getvalue())

    def test_topic(self) -> None:
        """A topic is 64 hex digits, or any text."""
        self.assertEqual(topic("a room"), parse().topic)
        self.assertEqual(SEED, make_parser().parse_args(["pipe", SEED.hex()]).topic)

    def test_bad_seed(self) -> None:
        """A seed of another length, or no hex digits, is a usage error."""
        for text in ("abc", "00", "g" * 64):
            self.assert_usage("64 hex digits", "--seed", text)

    def test_one_seed(self) -> None:
        """One seed will do."""
        self.assert_usage("not allowed with", "--seed", SEED.hex(), "--seed-file", "x")

    def test_bad_timeout(self) -> None:
        """A time-out is a positive number."""
        for text in ("0", "-1", "nan", "inf", "soon"):
            self.assert_usage("is not a number of seconds", f"--timeout={text}")


class InTimeTests(SynchronousTestCase):
    """Waiting no longer than the user wants."""

    def wait(self, *arguments: str) -> tuple[Clock, Deferred[None], Deferred[None]]:
        clock, event = Clock(), Deferred[None]()
        return clock, event, Deferred.fromCoroutine(in_time(event, parse(*arguments), clock, "no tea"))

    def test_too_late(self) -> None:
        """What has not come in time is an error for the user."""
        clock, _, waiting = self.wait("--timeout", "2.5")
        clock.advance(2.5)
        self.assertEqual("no tea in 2.5 s", str(self.failureResultOf(waiting, CommandError).value))

    def test_in_time(self) -> None:
        """What comes in time leaves no timer."""
        clock, event, waiting = self.wait("--timeout", "2.5")
        event.callback(None)
        self.successResultOf(waiting)
        self.assertEqual([], clock.getDelayedCalls())

    def test_for_ever(self) -> None:
        """Without a time-out there is none."""
        clock, event, waiting = self.wait()
        clock.advance(1e6)
        self.assertNoResult(waiting)
        event.callback(None)
        self.successResultOf(waiting)
