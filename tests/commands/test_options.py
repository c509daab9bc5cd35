"""The arguments that commands share."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.commands import make_parser
from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.commands.options import in_time, make_network
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.topics import topic

SEED = bytes(range(32))


def parse(*arguments: str) -> Any:
    return make_parser().parse_args(["pipe", "a room", *arguments])


class OptionCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def file(self, content: bytes) -> str:
        path = Path(self.mktemp())
        path.write_bytes(content)
        return str(path)

    def network(self, *arguments: str) -> Any:
        network = make_network(self.reactor, parse(*arguments))
        self.addCleanup(network.close)
        return network

    def assert_refused(self, text: str, *arguments: str) -> None:
        problem = self.assertRaises(CommandError, make_network, self.reactor, parse(*arguments))
        self.assertIn(text, str(problem))

    def assert_usage(self, text: str, *arguments: str) -> None:
        errors = io.StringIO()
        self.patch(sys, "stderr", errors)
        ended = self.assertRaises(SystemExit, parse, *arguments)
        self.assertEqual(2, ended.code)
        self.assertIn(text, errors.getvalue())


class NetworkTests(OptionCase):
    """The network that the options describe."""

    def test_defaults(self) -> None:
        """Without options it is the server at this machine's usual port, and we are somebody new each time."""
        network, other = self.network(), self.network()
        self.reactor.advance(0)
        self.assertEqual([("127.0.0.1", 4978)] * 2, [client[:2] for client in self.reactor.tcpClients])
        self.assertNotEqual(network.key_pair, other.key_pair)
        self.assertIs(None, network.token)

    def test_proxies(self) -> None:
        """Servers are tried in the order given."""
        self.network("--proxy", "tcp:10.0.0.1:1", "--proxy", "tcp:10.0.0.2:2")
        self.reactor.advance(0)
        self.assertEqual([("10.0.0.1", 1)], [client[:2] for client in self.reactor.tcpClients])

    def test_not_an_endpoint(self) -> None:
        """What is no client endpoint is named."""
        for text in ("nonsense:1", "tcp:x:y:z:a:b:c", "tcp", "tcp:127.0.0.1:http", "ws:"):
            self.assert_refused(f"--proxy {text}: not a client endpoint", "--proxy", text)

    def test_seed(self) -> None:
        """A seed is who we are, from the command line or a file."""
        for arguments in (("--seed", SEED.hex()), ("--seed-file", self.file(SEED.hex().encode() + b"\n"))):
            self.assertEqual(KeyPair.from_seed(SEED), self.network(*arguments).key_pair)

    def test_token(self) -> None:
        """The token is what the file holds, without the end of its line."""
        self.assertEqual(b"secret", self.network("--token-file", self.file(b"secret\n")).token)

    def test_bad_files(self) -> None:
        """Files that are not there, or hold something else, are named."""
        self.assert_refused("cannot read nowhere", "--token-file", "nowhere")
        self.assert_refused("cannot read", "--seed-file", self.file(b"\xff\xfe"))
        self.assert_refused("64 hex digits", "--seed-file", self.file(b"abc"))


class ArgumentTests(OptionCase):
    """What is found wrong at once."""

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
