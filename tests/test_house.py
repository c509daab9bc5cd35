"""The rules that hold the house together, read off the source: who may import what, and what nobody does."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

PROJECT = Path(__file__).resolve().parent.parent
PACKAGE = "spaceswarm_proxy"

#: The rooms, from the ground up: each imports only from its own floor and from those below.
FLOORS = (
    {"errors"},
    {"codec"},
    {"crypto"},
    {"_reactor", "_waiters", "budget", "connecting", "events", "interfaces", "keepers", "tcp", "topics", "transport"},
    {"udp"},
    {"dht"},
    {"udx"},
    {"secret"},
    {"peering"},
    {"websocket"},
    {"network"},
    {"swarm"},
    {"proxy"},
    {"endpoint_strings", "endpoints", "mtls", "original", "own_network", "testing"},
    {"service"},
    {"commands"},
)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

#: Rooms, and single modules of others, that are pure: values in, values out.
CORES = (
    "codec",
    "commands.file_messages",
    "crypto",
    "dht.bootstrap",
    "dht.chance",
    "dht.claimant",
    "dht.commands",
    "dht.contact",
    "dht.core",
    "dht.forwarding",
    "dht.generations",
    "dht.health",
    "dht.joining",
    "dht.message",
    "dht.nat",
    "dht.operations",
    "dht.options",
    "dht.query",
    "dht.rates",
    "dht.requests",
    "dht.responder",
    "dht.results",
    "dht.round_trips",
    "dht.sockets",
    "dht.stats",
    "dht.store",
    "dht.table",
    "dht.tokens",
    "dht.topic_records",
    "dht.turns",
    "dht.upkeep",
    "dht.values",
    "dht.window",
    "dht.witnesses",
    "dht.writes",
    "peering.admission",
    "peering.announcer",
    "peering.asking",
    "peering.blind_relay",
    "peering.client_handshake",
    "peering.connection",
    "peering.connector",
    "peering.core",
    "peering.duplicates",
    "peering.holepunch_client",
    "peering.holepunch_payload",
    "peering.holepunch_server",
    "peering.listener",
    "peering.local_addresses",
    "peering.noise_payload",
    "peering.passage",
    "peering.protomux",
    "peering.protomux_output",
    "peering.protomux_wire",
    "peering.pulse",
    "peering.puncher",
    "peering.punching",
    "peering.random_punches",
    "peering.raw",
    "peering.relay_client",
    "peering.relay_server",
    "peering.relaying",
    "peering.repeated",
    "peering.room",
    "peering.router",
    "peering.routes",
    "peering.samples",
    "peering.sampling",
    "peering.schedule",
    "peering.search",
    "peering.server_handshake",
    "peering.signing",
    "proxy.event",
    "proxy.features",
    "proxy.mux",
    "proxy.mux_stream",
    "proxy.wire",
    "secret.opening",
    "secret.session",
    "secret.watch",
    "swarm.duplicates",
    "swarm.retry",
    "udx.bbr",
    "udx.congestion",
    "udx.core",
    "udx.flights",
    "udx.headers",
    "udx.notes",
    "udx.outlet",
    "udx.owner",
    "udx.pacer",
    "udx.packet",
    "udx.path_mtu",
    "udx.queue",
    "udx.rate",
    "udx.receiver",
    "udx.recovery",
    "udx.round_trips",
    "udx.sender",
    "udx.stats",
    "udx.stream",
)
#: What else of ours a core may use: definitions only.
DEFINITIONS = ("errors", "interfaces", "topics")
#: What a core does without: clocks, chance and the outside world come to it as arguments.
OUTSIDE_WORLD = ("asyncio", "random", "socket", "threading", "time", "twisted.internet")
ALLOWED_OUTSIDE = ("twisted.internet.error",)


def within(name: str, packages: tuple[str, ...]) -> bool:
    """Is this dotted name one of those, or inside one?"""
    return any(name == package or name.startswith(package + ".") for package in packages)


def sources(directory: str) -> dict[str, ast.Module]:
    """The modules of a directory of the project, by their dotted name below it; a package has its own name."""
    found = {}
    for path in sorted((PROJECT / directory).rglob("*.py")):
        parts = path.relative_to(PROJECT / directory).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        found[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return found


def imports(module: ast.Module) -> Iterator[str]:
    """Whatever is imported anywhere in a module, by its full dotted name."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def own_imports(module: ast.Module) -> Iterator[str]:
    """What is imported from this project, by its name below the package."""
    prefix = PACKAGE + "."
    return (name.removeprefix(prefix) for name in imports(module) if name.startswith(prefix))


MODULES = sources(PACKAGE)
PLUGINS = sources("twisted/plugins")


class FloorTests(SynchronousTestCase):
    """Lower floors never import upper ones."""

    def test_every_room_has_a_floor(self) -> None:
        """A new room is given its floor here."""
        rooms = {name.partition(".")[0] for name in MODULES if name}
        self.assertEqual(set(), rooms - set(FLOOR_OF))

    def test_no_way_up(self) -> None:
        """No module imports from a floor above its own, nor from the package's list of public names."""
        for name, module in MODULES.items():
            for imported in own_imports(module) if name else ():
                if imported == "__version__":
                    continue
                room, other = name.partition(".")[0], imported.partition(".")[0]
                self.assertIn(other, FLOOR_OF, f"{name} imports {imported}")
                self.assertGreaterEqual(FLOOR_OF[room], FLOOR_OF[other], f"{name} imports {imported}")

    def test_absolute(self) -> None:
        """Imports give the whole name, so that these tests see them."""
        for name, module in MODULES.items():
            self.assertEqual([], [imported for imported in imports(module) if imported.startswith(".")], name)


class CoreTests(SynchronousTestCase):
    """The pure rooms."""

    def test_no_outside_world(self) -> None:
        """A core imports no reactor, clock, chance or socket."""
        for name, module in self.cores():
            for imported in imports(module):
                outside = within(imported, OUTSIDE_WORLD) and not within(imported, ALLOWED_OUTSIDE)
                self.assertFalse(outside, f"{name} imports {imported}")

    def test_only_cores(self) -> None:
        """Nor does it come to them by a detour: of ours it imports cores and definitions only."""
        for name, module in self.cores():
            for imported in own_imports(module):
                self.assertTrue(within(imported, CORES + DEFINITIONS), f"{name} imports {imported}")

    def cores(self) -> list[tuple[str, ast.Module]]:
        return [(name, module) for name, module in MODULES.items() if within(name, CORES)]


class ReactorTests(SynchronousTestCase):
    """The reactor is an argument."""

    def test_named_once(self) -> None:
        """Only ``_reactor`` names the global one."""
        for name, module in {**MODULES, **PLUGINS}.items():
            if name != "_reactor":
                self.assertNotIn("twisted.internet.reactor", set(imports(module)), name)

    def test_not_installed(self) -> None:
        """To import all of it installs no reactor: the program's choice is still open."""
        names = [f"{PACKAGE}.{name}" if name else PACKAGE for name in MODULES]
        program = f"import sys, {', '.join(names)}; print('twisted.internet.reactor' in sys.modules)"
        run = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True)
        self.assertEqual("False\n", run.stdout, run.stderr)


class PluginTests(SynchronousTestCase):
    """The files in ``twisted/plugins`` are run by every ``twistd`` on the machine."""

    def test_only_names(self) -> None:
        """They import and instantiate, and do nothing else."""
        for name, module in PLUGINS.items():
            for node in module.body:
                harmless = isinstance(node, ast.Import | ast.ImportFrom | ast.Assign | ast.AnnAssign)
                self.assertTrue(harmless or is_docstring(node), f"{name}, line {node.lineno}")

    def test_no_package(self) -> None:
        """There is no ``__init__.py``: Twisted's own would be hidden, and all its plugins."""
        self.assertEqual([], list((PROJECT / "twisted").rglob("__init__.py")))


class HabitTests(SynchronousTestCase):
    """What every module does, or none."""

    def test_docstrings(self) -> None:
        """Every module says what it is."""
        for name, module in {**MODULES, **PLUGINS, **sources("scripts")}.items():
            self.assertTrue(ast.get_docstring(module), name or PACKAGE)

    def test_construct(self) -> None:
        """Nobody compiles a grammar (it would not check lengths), or uses the unbounded ``VarInt``."""
        for name, module in MODULES.items():
            for node in ast.walk(module):
                self.assertNotEqual("VarInt", getattr(node, "attr", getattr(node, "id", "")), name)
                if isinstance(node, ast.Attribute) and node.attr == "compile":
                    self.assertEqual("re", ast.unparse(node.value), f"{name}, line {node.lineno}")
            self.assertFalse(within("construct.VarInt", tuple(imports(module))), name)

    def test_tests_are_found(self) -> None:
        """Every directory with tests is a package: trial passes over others without a word."""
        for path in (PROJECT / "tests").rglob("test_*.py"):
            if "node_modules" not in path.parts:
                self.assertTrue((path.parent / "__init__.py").exists(), str(path))


def is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
