"""The ``spaceswarm`` command line as a whole."""

from __future__ import annotations

import io
import sys

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy import __version__
from spaceswarm_proxy.commands import COMMANDS, main


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

    def test_version(self) -> None:
        """It knows its version."""
        self.assertEqual((0, f"spaceswarm {__version__}\n"), self.run_main("--version"))
