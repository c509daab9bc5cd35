"""
Our proxy server and the JavaScript one on identical work, and the ratio of what it costs them.

    ./check tests.interop                         # once: installs Node and the JavaScript packages
    .venv/bin/python benchmarks/proxy.py          # everything; --help for a part of it, or less of it

``loadgen.c`` (compiled on first use) is the client of the proxy and the peer behind it at once, and checks every
byte.  The two servers take turns, each test with a fresh process.  What counts is the CPU time of the server's
process, from /proc: it is disturbed less by a noisy machine than the clock is.  Ratios are ours / JavaScript, so
**below 1 is better**.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
JAVASCRIPT = ROOT / "tests" / "interop" / "proxy_server.js"
#: Seconds for a server to start, to stop, and for one test.
START, STOP, RUN = 30, 5, 300


@dataclass(frozen=True)
class Figure:
    """One number of a test's result; ``must`` and ``aim`` bound its ratio to the JavaScript's, or ``most`` itself."""

    key: str
    title: str
    must: float | None = None
    aim: float | None = None
    most: float | None = None


@dataclass(frozen=True)
class Test:
    """A mode of the load generator, its options, and what is read off."""

    name: str
    mode: str
    figures: tuple[Figure, ...]
    options: dict[str, int | str] = field(default_factory=dict)


def per_gb(must: float, aim: float) -> Figure:
    return Figure("cpu_s_per_gb", "CPU s/GB", must, aim)


def each(must: float, aim: float) -> Figure:
    return Figure("cpu_us_per_item", "CPU us each", must, aim)


LEAK = Figure("leak_kb", "kB left a cycle", most=1.0)
TESTS = (
    Test("bulk-p2c", "p2c", (per_gb(0.8, 0.4),), {"bytes": 1_500_000_000}),
    Test("bulk-c2p", "c2p", (per_gb(0.8, 0.4),), {"bytes": 1_500_000_000}),
    Test("bulk-p2c-16", "p2c", (per_gb(0.8, 0.4),), {"bytes": 1_000_000_000, "streams": 16}),
    Test("bulk-c2p-16", "c2p", (per_gb(0.8, 0.4),), {"bytes": 1_000_000_000, "streams": 16}),
    Test("bulk-c2p-4k", "c2p", (per_gb(0.7, 0.3),), {"bytes": 400_000_000, "chunk": 4016}),
    Test("small-p2c-64", "small-p2c", (each(0.6, 0.4),), {"count": 150_000, "streams": 64}),
    Test("small-c2p-64", "small-c2p", (each(1.0, 0.7),), {"count": 250_000, "streams": 64}),
    Test("pipe-p2c", "pipe-p2c", (each(1.5, 1.0),), {"count": 1_500_000}),
    Test("pipe-c2p", "pipe-c2p", (each(0.3, 0.2),), {"count": 400_000}),
    Test("pipe-c2p-idle1000", "pipe-c2p", (each(0.08, 0.04),), {"count": 60_000, "idle": 1000}),
    Test("ping", "ping", (Figure("p50_us", "p50 us", 1.1, 0.7), each(1.1, 0.7)), {"count": 15_000, "size": 64}),
    Test(
        "connect-client",
        "connect",
        (each(0.6, 0.35), Figure("never_closed", "peer sockets left open", most=0), LEAK),
        {"count": 4_000, "closer": "client"},
    ),
    Test("connect-peer", "connect", (each(0.6, 0.35), LEAK), {"count": 4_000, "closer": "peer"}),
    Test("connect-peer-32", "connect", (each(0.6, 0.35),), {"count": 8_000, "closer": "peer", "conc": 32}),
    Test("clients", "clients", (Figure("kb_each", "kB an idle client", 0.15, 0.06),), {"count": 1_000}),
    Test("streams", "streams", (Figure("kb_each", "kB an open stream", 0.4, 0.1),), {"count": 2_000}),
    Test("slow-client", "slow-client", (Figure("rss_growth_mb", "MB grown", most=4.0),), {"bytes": 500_000_000}),
    Test("slow-peer", "slow-peer", (Figure("rss_growth_mb", "MB grown", most=4.0),), {"bytes": 500_000_000}),
)


def build(source: str) -> Path:
    """Compile a load generator.  :returns: the program; the caller removes its directory."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        sys.exit("a C compiler is needed: apt-get install gcc libc6-dev")
    program = Path(tempfile.mkdtemp()) / Path(source).stem
    subprocess.run([compiler, "-O2", "-Wall", "-o", program, HERE / source], check=True)
    return program


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each_socket in sockets:
        each_socket.close()
    return ports


def start(command: list[str]) -> subprocess.Popen[str]:
    """Start a server, and wait until it says that it is ready."""
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    for line in server.stdout:
        if "ready" in line:
            return server
    sys.exit(f"the server did not become ready: {' '.join(command)}")


def stop(server: subprocess.Popen[str]) -> None:
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(STOP)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def run(loadgen: Path, command: list[str], test: Test, scale: float) -> dict[str, float]:
    """One test of one server.  :returns: the generator's figures."""
    port, peer_port = free_ports(2)
    server = start([part.format(port=port, peer_port=peer_port) for part in command])
    try:
        arguments = [loadgen, test.mode, "--server", str(port), "--peer", str(peer_port), "--pids", str(server.pid)]
        for name, value in test.options.items():
            if name in ("bytes", "count"):
                value = max(1, int(int(value) * scale))
            arguments += [f"--{name}", str(value)]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=RUN, check=False)
        result: dict[str, float] = json.loads(done.stdout[done.stdout.rindex('{"') :])
    finally:
        stop(server)
    if "error" in result:
        sys.exit(f"{test.name}: {result['error']}")
    if "rss_after_kb" in result:
        result["leak_kb"] = (result["rss_after_kb"] - result["rss_start_kb"]) / result["items"]
    return result


def verdict(figure: Figure, ours: float, ratio: float | None) -> str:
    if figure.most is not None:
        return "ok" if ours <= figure.most else f"over {figure.most:g}"
    if figure.must is None or ratio is None:
        return ""
    if figure.aim is not None and ratio <= figure.aim:
        return "aim reached"
    return "ok" if ratio <= figure.must else f"over {figure.must:g}"


def compare(loadgen: Path, commands: list[list[str]], test: Test, runs: int, scale: float) -> list[str]:
    """:returns: the rows of the table for one test: the medians of both, their ratio, and what was asked for."""
    results: list[list[dict[str, float]]] = [[], []]
    for _ in range(runs):
        for which, command in enumerate(commands):
            results[which].append(run(loadgen, command, test, scale))
    rows = []
    for figure in test.figures:
        theirs, ours = (statistics.median(result[figure.key] for result in each) for each in results)
        ratio = ours / theirs if theirs > 0 else None
        cells = [
            test.name,
            figure.title,
            f"{theirs:.3g}",
            f"{ours:.3g}",
            "" if ratio is None else f"{ratio:.2f}",
            "" if figure.must is None else f"{figure.must:g}",
            "" if figure.aim is None else f"{figure.aim:g}",
            verdict(figure, ours, ratio),
        ]
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def machine() -> str:
    model = platform.processor() or "?"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].split(":", 1)[1].strip() if names else model
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    return f"{model}, {os.cpu_count()} cores, {system}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tests", default="", help="names, or beginnings of names, with commas between")
    parser.add_argument("--runs", type=int, default=3, help="the median of so many (default: 3)")
    parser.add_argument("--scale", type=float, default=1.0, help="so much of the work (default: 1)")
    parser.add_argument("--node", default=shutil.which("node") or "node", help="the Node.js program")
    options = parser.parse_args()
    wanted = tuple(name for name in options.tests.split(",") if name)
    peer = "127.0.0.1:{peer_port}"
    commands = [
        [options.node, str(JAVASCRIPT), "--tcp", "{port}", "--any-peer", peer],
        [sys.executable, str(HERE / "proxy_server.py"), "--tcp", "{port}", "--any-peer", peer],
    ]
    print(f"{machine()}; median of {options.runs}, scale {options.scale:g}\n")
    print("| test | figure | JavaScript | ours | ratio | must | aim | |\n" + "| --- " * 8 + "|")
    loadgen = build("loadgen.c")
    try:
        for test in TESTS:
            if not wanted or test.name.startswith(wanted):
                print("\n".join(compare(loadgen, commands, test, options.runs, options.scale)), flush=True)
    finally:
        shutil.rmtree(loadgen.parent)


if __name__ == "__main__":
    main()
