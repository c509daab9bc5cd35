"""The command line: :mod:`spaceswarm_proxy.service.options`."""

from __future__ import annotations

import os
import sys
import tomllib
from io import StringIO
from pathlib import Path

from twisted.internet.testing import MemoryReactorClock
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy import __version__
from spaceswarm_proxy.proxy.limits import Limits
from spaceswarm_proxy.service.options import Options
from spaceswarm_proxy.service.settings import Settings, own_fields


class OptionsTestCase(SynchronousTestCase):
    """Parses command lines."""

    def parse(self, *arguments: str, parent: usage.Options | None = None) -> Settings:
        options = Options(MemoryReactorClock())
        options.parent = parent
        options.parseOptions(list(arguments))
        return options.settings

    def refused(self, *arguments: str) -> str:
        problem = self.assertRaises(usage.UsageError, self.parse, *arguments)
        self.assertNotIn("\n", str(problem))
        return str(problem)

    def write(self, text: str) -> str:
        path = Path(self.mktemp())
        path.write_text(text, encoding="utf-8")
        return str(path)


class ParseTests(OptionsTestCase):
    """From arguments to settings."""

    def test_none(self) -> None:
        """Without options, everything is as its default says."""
        self.assertEqual(Settings(), self.parse())

    def test_all(self) -> None:
        """Every setting has its option; those that are lists may be repeated."""
        tokens = self.write("secret")
        found = self.parse(
            *("--listen", "tcp:1", "--listen", "ws:2", "--network", "dht", "--no-announce"),
            *("--profile", "hyperswarm", "--bootstrap", "a:1", "--bootstrap", "1.2.3.4@b:2", "--host", "127.0.0.1"),
            *("--port", "0", "--state", "kept", "--ephemeral", "--identity-grace", "7.5"),
            "--no-end-to-end",
            *("--announce-tcp", "a=h:1", "--announce-tcp", "b=h:2", "--token-file", tokens, "--allow-anyone"),
            *("--metrics", "tcp:3:interface=127.0.0.1"),
            *("--grace", "2.5", "--log-level", "debug", "--max-clients", "7", "--half-close-grace", "0"),
        )
        expected = Settings(
            listen=("tcp:1", "ws:2"),
            network="dht",
            profile="hyperswarm",
            bootstrap=("a:1", "1.2.3.4@b:2"),
            host="127.0.0.1",
            port=0,
            state=os.path.abspath("kept"),
            ephemeral=True,
            identity_grace=7.5,
            end_to_end=False,
            announce=False,
            announce_tcp=("a=h:1", "b=h:2"),
            token_file=os.path.abspath(tokens),
            allow_anyone=True,
            metrics="tcp:3:interface=127.0.0.1",
            grace=2.5,
            log_level="debug",
            limits=Limits(max_clients=7, half_close_grace=0.0),
        )
        self.assertEqual(expected, found)

    def test_every_field(self) -> None:
        """A setting or limit that is added later has its option too, with its help."""
        text = " ".join(str(Options()).split())
        for name in (*own_fields(Settings), *own_fields(Limits)):
            self.assertIn(f"--{name.replace('_', '-')}", text)

    def test_last_switch(self) -> None:
        """Of two switches that contradict each other, the later counts."""
        self.assertTrue(self.parse("--no-announce", "--announce").announce)
        self.assertIs(False, self.parse("--announce", "--no-announce").announce)
        self.assertIs(False, self.parse("--ephemeral", "--no-ephemeral").ephemeral)

    def test_file(self) -> None:
        """A file gives the settings that the command line does not."""
        path = self.write('listen = ["tcp:1:interface=127.0.0.1"]\ngrace = 1\n[limits]\nmax_topics = 1\nmax_peers = 2')
        found = self.parse("--config", path, "--grace", "3", "--max-topics", "4", "--announce")
        expected = Settings(
            listen=("tcp:1:interface=127.0.0.1",), grace=3.0, announce=True, limits=Limits(max_topics=4, max_peers=2)
        )
        self.assertEqual(expected, found)
        self.assertEqual(("ws:2",), self.parse("--config", path, "--listen", "ws:2").listen)


class RefusalTests(OptionsTestCase):
    """What can't be is refused before anything is started, in one line."""

    def test_refused(self) -> None:
        """The line names the option, and what is wrong with its value."""
        for arguments, expected in (
            (("--frob",), "option --frob not recognized"),
            (("surplus",), "Wrong number of arguments."),
            (("--max-clients", "x"), "--max-clients: must be a whole number, not 'x'"),
            (("--max-clients", "0"), "max_clients must be positive, not 0"),
            (("--ready-timeout", "nan"), "--ready-timeout: must be a number, not nan"),
            (("--grace", "soon"), "--grace: must be a number, not 'soon'"),
            (("--network", "moon"), "network: 'moon' is none of: dht, local"),
            (("--bootstrap", "a"), "bootstrap: 'a' is not HOST:PORT"),
            (("--port", "65536"), "port: must be 0 to 65535, not 65536"),
            (("--port", "any"), "--port: must be a whole number, not 'any'"),
            (("--log-level", "loud"), "log_level: 'loud' is none of"),
            (("--announce-tcp", "x"), "announce_tcp: 'x' is not TOPIC=HOST:PORT"),
            (("--listen", "frob:1", "--allow-anyone"), "listen: frob:1: Unknown endpoint type"),
            (("--listen", "tcp:0"), "--allow-anyone"),
            (("--listen", "mtls:1:privateKey=k"), "listen: mtls:1:privateKey=k: clientCA is missing"),
            (
                ("--metrics", "frob:1:interface=127.0.0.1", "--allow-anyone"),
                "metrics: frob:1:interface=127.0.0.1: Unknown",
            ),
            (("--metrics", "tcp:9100"), "metrics: tcp:9100 can be reached from other machines"),
            (
                ("--metrics", "tcp:65536:interface=127.0.0.1"),
                "metrics: tcp:65536:interface=127.0.0.1: a port is at most",
            ),
            (("--token-file", "/nowhere/tokens"), "token_file: /nowhere/tokens: No such file or directory"),
            (("--config", "/nowhere/config"), "config: /nowhere/config: No such file or directory"),
        ):
            self.assertIn(expected, self.refused(*arguments))

    def test_file(self) -> None:
        """So is what can't be in a file, which is named."""
        path = self.write("frob = 1")
        self.assertEqual(f"config: {path}: frob: there is no such setting", self.refused("--config", path))

    def test_below_twistd(self) -> None:
        """Under twistd the program ends with the line alone; twistd would print its own usage."""
        problem = self.assertRaises(SystemExit, self.parse, "--grace", "soon", parent=usage.Options())
        self.assertEqual("spaceswarm-proxy: --grace: must be a number, not 'soon'", problem.code)

    def test_twistd_files(self) -> None:
        """twistd's own files are looked at in time; their absence is fine."""
        for name in ("pidfile", "logfile"):
            parent = usage.Options()
            parent.update({name: os.path.join(self.mktemp(), "file")})
            problem = self.assertRaises(SystemExit, self.parse, parent=parent)
            self.assertIn(f"twistd's --{name} names another", str(problem.code))
        parent = usage.Options()
        parent.update({"pidfile": "", "logfile": "-"})
        self.parse(parent=parent)
        parent.update({"pidfile": self.mktemp(), "logfile": None})
        self.parse(parent=parent)


class CheckTests(OptionsTestCase):
    """Options that only print."""

    def printed(self, *arguments: str) -> str:
        output = StringIO()
        self.patch(sys, "stdout", output)
        self.assertEqual(0, self.assertRaises(SystemExit, self.parse, *arguments).code)
        return output.getvalue()

    def test_check(self) -> None:
        """``--check-config`` prints that all is well, and then a file with everything that is set."""
        path = self.write('metrics = "unix:metrics"')
        arguments = ("--grace", "7", "--max-clients", "9", "--config", path, "--check-config")
        first, _, rest = self.printed(*arguments).partition("\n")
        self.assertEqual("configuration ok", first)
        table = tomllib.loads(rest)
        found = (table["grace"], table["limits"]["max_clients"], table["metrics"])
        self.assertEqual((7.0, 9, "unix:metrics"), found)

    def test_check_refuses(self) -> None:
        """``--check-config`` finds what a start would."""
        self.assertIn("Unknown endpoint type", self.refused("--check-config", "--listen", "frob:", "--allow-anyone"))

    def test_version(self) -> None:
        """``--version`` is ours, not Twisted's."""
        self.assertEqual(f"spaceswarm-proxy {__version__}\n", self.printed("--version"))
