"""
A network of our nodes in one process, for ``dht.py``.

    python benchmarks/dht_testnet.py NODES

It prints the same line as ``tests/interop/testnet.js`` when all nodes are there, and ends with its standard input.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # what is measured is this checkout, whatever is installed

from twisted.internet import reactor, stdio
from twisted.internet.protocol import Protocol, connectionDone

from spaceswarm_proxy.testing import TestNet


class Standing(Protocol):
    """Standard input: when it ends, so does the process."""

    def connectionLost(self, reason=connectionDone):
        reactor.callLater(0, reactor.stop)


def main() -> None:
    # The load comes from one host, and is more than any host should make.
    net = TestNet(reactor, int(sys.argv[1]), profile="hyperswarm", max_requests_of_host=10**9)

    def ready(_):
        nodes = [{"host": node.address.host, "port": node.address.port} for node in net.nodes]
        print(json.dumps({"event": "ready", "bootstrap": nodes[:1], "nodes": nodes}), flush=True)

    net.ready().addCallback(ready)
    stdio.StandardIO(Standing())
    reactor.run()


if __name__ == "__main__":
    main()
