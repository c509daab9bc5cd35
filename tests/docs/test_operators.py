"""``docs/operators.md`` and what is in ``contrib``."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.testing import AccumulatingProtocol
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

import spaceswarm_proxy
from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy.commands import make_parser
from spaceswarm_proxy.errors import BY_CODE
from spaceswarm_proxy.service import Options
from tests.certificates import Authority, write
from tests.docs.pages import ABSENT, DOCS, blocks, commands, without_blocks
from tests.service.child import ROOT, Twistd

PAGE = DOCS / "operators.md"
SYSTEMD = ROOT / "contrib" / "systemd"
#: What a command names, and we have ready: the names of files, with or without a directory.
FILE = re.compile(r"(?:[\w./]+/)?\b(proxy\.toml|tokens|(?:key|cert|ca|server)\.(?:pem|key|seed))\b")
#: Programs of the system that are only named.
OTHERS = "chmod chown cp journalctl mkdir nft openssl pip python3 systemctl systemd-sysusers".split()


class ToolsTestCase(SynchronousTestCase):
    """Runs programs of the system."""

    skip = ABSENT

    def run_program(self, *command: str, cwd: str | None = None) -> None:
        """Run something that must go well; where the system does not have it, the test is skipped."""
        if shutil.which(command[0]) is None:
            raise SkipTest(f"there is no {command[0]} here")
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)

    def files(self) -> str:
        """:returns: a directory with every file that commands name."""
        directory = self.mktemp()
        authority = Authority("operators")
        key, cert = authority.issue("server")
        write(directory, key=key, cert=cert, ca=authority.pem, server=cert)
        place = Path(directory)
        shutil.copy(place / "key.pem", place / "server.key")
        (place / "server.seed").write_text("1" * 64)
        (place / "tokens").write_text("secret\n")
        shutil.copy(SYSTEMD / "proxy.toml", place)
        return str(place.resolve())

    def check(self, words: list[str], directory: str) -> None:
        """A command of ours takes these arguments."""
        program = words[0].rpartition("/")[2]
        if program == "spaceswarm":
            make_parser().parse_args(words[1:])
        elif program in OTHERS:
            return
        else:
            self.assertIn("spaceswarm-proxy", words)
            options = words[words.index("spaceswarm-proxy") + 1 :]
            options = [FILE.sub(rf"{directory}/\1", option) for option in options if option != "--check-config"]
            Options().parseOptions([option.replace("HEX", "1" * 64) for option in options])


class CommandTests(ToolsTestCase):
    """The lines for a shell."""

    def test_commands(self) -> None:
        """They are ones that there are, with arguments that they take."""
        directory = self.files()
        lines = list(commands(PAGE))
        self.assertTrue(lines)
        for words in lines:
            self.check(words, directory)

    def test_options(self) -> None:
        """Every option that the text names is one of the server, or of a program that it names."""
        known = {f"--{name}" for name in Options().longOpt} | {f"--{name.rstrip('=')}" for name in Options().longOpt}
        named = set(re.findall(r"`(--[\w-]+)", without_blocks(PAGE)))
        self.assertEqual({"--pidfile", "--allow"}, named - known)

    def test_certificates(self) -> None:
        """The lines that make certificates make such as ``mtls:`` takes."""
        directory = self.mktemp()
        Path(directory).mkdir()
        for words in commands(PAGE):
            if words[0] == "openssl" and "-subj" in words or words[:2] == ["openssl", "x509"]:
                self.run_program(*words, cwd=directory)
        endpoint = "mtls:4978:privateKey=server.key:certKey=server.pem:clientCA=ca.pem"
        Options().parseOptions(["--listen", FILE.sub(rf"{Path(directory).resolve()}/\1", endpoint)])

    def test_messages(self) -> None:
        """What the log is said to say, stands in the source: what is between two wildcards, word for word."""
        source = "".join(path.read_text("utf-8") for path in Path(spaceswarm_proxy.__file__).parent.rglob("*.py"))
        source = re.sub(r"\{[\w.!:]*\}|%s", "*", re.sub(r'"\s*\n\s*f?"', "", source))
        table = without_blocks(PAGE).partition("| the log says |")[2]
        messages = [part for row in re.findall(r"^\| (`.*?) \| ", table, re.MULTILINE) for part in row.split("`")[1::2]]
        self.assertTrue(messages)
        for message in messages:
            code = message.removeprefix(": ").partition(":")[0]
            # What stands in the place of a field in the source.
            parts = re.split(r"tcp:4978|spaceswarm|Address already in use|twistd\.pid", message)
            self.assertTrue(code in BY_CODE or all(part.strip(" ():;") in source for part in parts), message)


class ContribTests(ToolsTestCase):
    """The files for systemd."""

    def unit(self, path: Path) -> RawConfigParser:
        parser = RawConfigParser(strict=False, delimiters="=", comment_prefixes="#")
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read_string(path.read_text("utf-8"))
        return parser

    def test_units(self) -> None:
        """Each runs a command of ours with options that there are, and keeps what it writes where it may."""
        directory = self.files()
        units = list(SYSTEMD.glob("*.service"))
        self.assertEqual(2, len(units))
        for path in units:
            service = self.unit(path)["Service"]
            words = shlex.split(service["ExecStart"])
            self.check(words, directory)
            self.assertEqual(f"/var/lib/{service['StateDirectory']}", words[words.index("--state") + 1])

    def test_verified(self) -> None:
        """systemd finds nothing wrong with them, with the programs of this environment."""
        for path in SYSTEMD.glob("*.service"):
            copy = Path(self.mktemp())
            copy.mkdir()
            text = re.sub(r"/opt/spaceswarm/bin/\w+", sys.executable, path.read_text("utf-8"))
            (copy / path.name).write_text(text)
            self.run_program("systemd-analyze", "verify", str((copy / path.name).resolve()))

    def test_nginx(self) -> None:
        """nginx takes what is said to be for it."""
        directory = Path(self.mktemp()).resolve()
        directory.mkdir()
        (location,) = blocks(PAGE, "nginx")
        head = f"pid {directory}/pid; error_log {directory}/errors; events {{}}"
        (directory / "nginx.conf").write_text(f"{head} http {{ server {{ listen 127.0.0.1:8080;\n{location} }} }}")
        self.run_program("nginx", "-t", "-c", f"{directory}/nginx.conf")


class MetricsTests(TestCase):
    """What is said of the metrics."""

    skip = ABSENT
    timeout = 120

    async def test_metrics(self) -> None:
        """The command on the page shows them, where Prometheus is told to look, by the names in the table."""
        (line,) = [words for words in commands(PAGE) if "--metrics" in words]
        shown = line[line.index("--metrics") + 1]
        (scraped,) = re.findall(r"targets: \[\"(.*):(\d+)\"\]", *blocks(PAGE, "yaml"))
        self.assertEqual("tcp:{1}:interface={0}".format(*scraped), shown)
        page = await self.scrape([word.replace(f":{scraped[1]}:", ":0:") for word in line])
        names = set(re.findall(r"`((?:spaceswarm_(?:proxy_|dht|udx)|process)_\w+)`", without_blocks(PAGE)))
        self.assertLess(5, len(names))
        self.assertEqual(set(), {name for name in names if f"\n# TYPE {name} " not in page})

    async def scrape(self, line: list[str]) -> str:
        """:returns: what a server that is started by a line of the page shows."""
        reactor: Any = or_global(None)
        where = ["--listen", "tcp:0:interface=127.0.0.1", "--host", "127.0.0.1", "--bootstrap", "127.0.0.1:1"]
        child = Twistd(reactor, self.mktemp(), *line[line.index("spaceswarm-proxy") :], *where, "--port", "0")
        self.addCleanup(child.kill)
        port = int((await child.line(r"metrics on tcp:(\d+):"))[1])
        return await self.fetch(TCP4ClientEndpoint(reactor, "127.0.0.1", port))

    async def fetch(self, endpoint: Any) -> str:
        """:returns: the response to a request of one line."""
        protocol = AccumulatingProtocol()
        closed: Deferred[None] = Deferred()
        protocol.closedDeferred = closed
        await connectProtocol(endpoint, protocol)
        protocol.transport.write(b"GET /metrics HTTP/1.0\r\n\r\n")
        await closed
        return protocol.data.decode()
