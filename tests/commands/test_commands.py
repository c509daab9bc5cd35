"""The ``spaceswarm`` command line as a whole."""

from __future__ import annotations

import io
import shlex
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy import __version__
from spaceswarm_proxy.commands import COMMANDS, main
from tests.commands.support import PROJECT


class MainTests(SynchronousTestCase):
    """What needs no reactor."""

    def run_main(self, *arguments: str) -> tuple[object, str]:
        """:returns: the exit status, and what was written to either stream."""
        written = io.StringIO()
        self.patch(sys, "stdout", written)
        self.patch(sys, "stderr", written)
        status = self.assertRaises(SystemExit, main, arguments).code
        return status, written.getvalue()

    def test_help(self) -> None:
        """The help lists every command, and each has one of its own."""
        status, text = self.run_main("--help")
        self.assertEqual(0, status)
        for command in COMMANDS:
            self.assertIn(command.summary, text)
            status, own = self.run_main(command.name, "--help")
            self.assertEqual(0, status)
            self.assertIn(command.description.splitlines()[0], own)

    def test_wrong(self) -> None:
        """Without a command, or with one that is none, it tells how it is used."""
        for arguments in ((), ("dance",), ("pipe",), ("pipe", "a", "b")):
            status, text = self.run_main(*arguments)
            self.assertEqual(2, status)
            self.assertTrue(text.startswith("usage: spaceswarm"), text)

    def ended(self, redirection: str, *arguments: str) -> tuple[int, bytes, bytes]:
        """:returns: the status of a command that was to fail, and what it has written; as the shell runs it."""
        command = shlex.join([sys.executable, "-m", "spaceswarm_proxy.commands", *arguments])
        environment = {"PYTHONPATH": str(PROJECT)}
        line = ["sh", "-c", f"{command} {redirection}"]
        ended = subprocess.run(line, capture_output=True, env=environment, timeout=60)
        return ended.returncode, ended.stdout, ended.stderr

    def test_closed_output(self) -> None:
        """A standard output that is closed is not mistaken for a file or socket of ours."""
        told = self.ended("0<&- 1>&-", "lookup", "x", "--host", "127.0.0.1", "--bootstrap", "127.0.0.1:1", "--json")
        self.assertEqual((1, b"", b"spaceswarm lookup: [Errno 9] Bad file descriptor\n"), told)

    def test_closed_errors(self) -> None:
        """A standard error that is closed changes nothing, and nothing goes to standard output instead."""
        self.assertEqual((1, b"", b""), self.ended("2>&-", "lookup", "x", "--host", "192.0.2.1"))

    def test_version(self) -> None:
        """It knows its version."""
        self.assertEqual((0, f"spaceswarm {__version__}\n"), self.run_main("--version"))
