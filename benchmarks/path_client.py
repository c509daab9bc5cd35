"""
Our client for ``path.py``: one workload over a proxy server, or as a node of its own.

    python benchmarks/path_client.py --server 127.0.0.1:4978 --key HEX --topic TEXT --workload ping --count 100
    python benchmarks/path_client.py --server 127.0.0.1:4977 --carrier ws ...
    python benchmarks/path_client.py --bootstrap 127.0.0.1:49737 ...                    # without a proxy

It writes a JSON object a line.  It prepares and says ``ready``; at ``go`` on its standard input it works and says
``done``, with the seconds that took and more; all stays open until ``quit``, or the end of the input.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # what is measured is this checkout, whatever is installed

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.protocol import connectionDone
from twisted.internet.stdio import StandardIO
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from benchmarks.path_workloads import WORKLOADS, Link, Open, Task
from spaceswarm_proxy import DHTNetwork, ProxyNetwork

PROFILE = "hyperswarm"


def through_proxy(reactor: Any, carrier: str, server: str, custodial: bool = False) -> Open:
    """
    :param custodial: the server has our secret keys, and does all in our name.
    :returns: what opens links to a server, ``HOST:PORT``.
    """

    async def open_link() -> Link:
        endpoint = clientFromString(reactor, f"{carrier}:{server}")
        network = ProxyNetwork(endpoint, end_to_end=False if custodial else None)
        await network.when_online()

        async def drop() -> None:
            assert network.link is not None
            network.link.transport.abortConnection()
            await network.close()

        return Link(network, drop)

    return open_link


def as_node(reactor: Any, bootstrap: str) -> Open:
    """:returns: what makes a node for each link."""

    async def open_link() -> Link:
        network = await DHTNetwork.start(reactor, profile=PROFILE, bootstrap=[bootstrap], host="127.0.0.1", port=0)

        async def drop() -> None:
            await network.close()

        return Link(network, drop)

    return open_link


class Words(LineOnlyReceiver):
    """What stands on the standard input, line by line."""

    delimiter = b"\n"

    def __init__(self) -> None:
        self.go: Deferred[None] = Deferred()
        self.quit: Deferred[None] = Deferred()

    def lineReceived(self, line: bytes) -> None:
        if line.strip() == b"go" and not self.go.called:
            self.go.callback(None)
        elif line.strip() == b"quit":
            self.connectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.quit.called:
            self.quit.callback(None)


class Client:
    """The process."""

    def __init__(self, reactor: Any, open_link: Open) -> None:
        self.reactor = reactor
        self.open_link = open_link

    def say(self, event: str, **fields: Any) -> None:
        """Print a line."""
        print(json.dumps({"event": event, **fields}), flush=True)

    async def run(self, name: str, task: Task) -> None:
        """One workload, from the first word to the last."""
        words = Words()
        StandardIO(words, reactor=self.reactor)
        workload = WORKLOADS[name](task, self)
        await workload.prepare()
        self.say("ready")
        await words.go
        began = perf_counter()
        figures = await workload.work()
        self.say("done", seconds=perf_counter() - began, **figures)
        await words.quit


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """:returns: what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--server", help="HOST:PORT of the proxy server")
    where.add_argument("--bootstrap", help="HOST:PORT where the network begins, for a node of our own")
    parser.add_argument("--carrier", choices=("tcp", "ws"), default="tcp", help="to the server (default: tcp)")
    parser.add_argument("--custodial", action="store_true", help="let the server have our secret keys")
    parser.add_argument("--workload", choices=WORKLOADS, required=True)
    for each in fields(Task):
        parser.add_argument(f"--{each.name}", type=str if each.name in ("key", "topic") else int, default=each.default)
    return parser.parse_args(arguments)


def task_of(options: argparse.Namespace) -> Task:
    """:returns: the work that the options ask for."""
    return Task(**{each.name: getattr(options, each.name) for each in fields(Task)})


def main() -> None:
    options = parsed(sys.argv[1:])
    if sys.platform == "linux":
        from twisted.internet import epollreactor

        epollreactor.install()
    from twisted.internet import reactor

    open_link = (
        through_proxy(reactor, options.carrier, options.server, options.custodial)
        if options.server
        else as_node(reactor, options.bootstrap)
    )
    client = Client(reactor, open_link)
    running = Deferred.fromCoroutine(client.run(options.workload, task_of(options)))
    running.addErrback(lambda failure: client.say("error", message=failure.getErrorMessage()))
    # Whatever is open is cut: nobody shall wait for goodbyes.
    running.addBoth(lambda _: os._exit(0))
    reactor.run()


if __name__ == "__main__":
    main()
