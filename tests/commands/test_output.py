"""What the commands of the DHT tell."""

from __future__ import annotations

import io
import os
import sys
from argparse import Namespace

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.commands.output import Output
from spaceswarm_proxy.errors import LimitError, PeerNotFoundError, RequestTimeoutError
from tests.commands.dht_support import events


class OutputTests(SynchronousTestCase):
    """One thing, told in two ways."""

    def setUp(self) -> None:
        self.errors = io.StringIO()
        self.patch(sys, "stderr", self.errors)
        self.reading, self.writing = os.pipe()
        self.addCleanup(os.close, self.reading)
        self.addCleanup(os.close, self.writing)

    def make(self, json: bool = False, quiet: bool = False) -> Output:
        return Output(Namespace(command=Namespace(name="get"), json=json, quiet=quiet), self.writing)

    def tell(self, output: Output) -> bytes:
        output.news("ready", "it is ready", online=True)
        output.result("value", b"\xff\n", value="ff0a")
        output.result("peer", "somebody", relay_addresses=["10.0.0.1:1"])
        output.failed(RequestTimeoutError("no answer"))
        os.write(self.writing, b"|")
        return os.read(self.reading, 10_000)[:-1]

    def test_people(self) -> None:
        """Results are on standard output, bytes as they are; the news is on standard error."""
        self.assertEqual(b"\xff\nsomebody\n", self.tell(self.make()))
        self.assertEqual("get: it is ready\n", self.errors.getvalue())

    def test_quiet(self) -> None:
        """With ``--quiet`` there are results only."""
        self.assertEqual(b"\xff\nsomebody\n", self.tell(self.make(quiet=True)))
        self.assertEqual("", self.errors.getvalue())

    def test_programs(self) -> None:
        """With ``--json`` everything is an object on a line of standard output."""
        wanted = [
            {"event": "ready", "online": True},
            {"event": "value", "value": "ff0a"},
            {"event": "peer", "relay_addresses": ["10.0.0.1:1"]},
            {"event": "error", "code": "request-timeout", "message": "no answer"},
        ]
        self.assertEqual(wanted, events(self.tell(self.make(json=True))))
        self.assertEqual("", self.errors.getvalue())

    def test_for_programs_only(self) -> None:
        """Some things people are not told, or in another way."""
        for json in (False, True):
            self.make(json).event("progress", done=1)
        self.assertEqual([{"event": "progress", "done": 1}], events(os.read(self.reading, 10_000)))
        self.assertEqual("", self.errors.getvalue())

    def test_reference_code(self) -> None:
        """A failure that has a name in JavaScript is told with it, and with what else is known of it."""
        self.make(json=True).failed(PeerNotFoundError("no"), stream=1)
        wanted = {"code": "peer-not-found", "reference_code": "PEER_NOT_FOUND", "stream": 1}
        self.assertEqual(
            [{"event": "error", "message": "PEER_NOT_FOUND: no", **wanted}], events(os.read(self.reading, 10_000))
        )

    def test_codes(self) -> None:
        """Every failure has a code, the one of its class if there is one."""
        output = self.make(json=True)
        for problem in (CommandError("no"), CommandError("no", "not-found"), LimitError("peers"), OSError("no")):
            output.failed(problem)
        codes = [event["code"] for event in events(os.read(self.reading, 10_000))]
        self.assertEqual(["error", "not-found", "limit", "error"], codes)
