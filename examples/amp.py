"""
Remote calls with AMP, Twisted's own protocol for them, between two nodes that know no more than a topic.

No proxy server and no address: both are nodes of the network.  In two terminals::

    python examples/amp.py serve
    python examples/amp.py divide 355 113

``--bootstrap HOST:PORT --host 127.0.0.1`` is for a network of your own; see ``docs/dht.md``.
"""

from __future__ import annotations

from argparse import ArgumentParser

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.protocol import Factory
from twisted.internet.task import react
from twisted.protocols.amp import AMP, Command, Float

from spaceswarm_proxy import DHTNetwork, TopicClientEndpoint, TopicServerEndpoint, topic

TOPIC = topic("examples/amp")


class Divide(Command):
    arguments = [(b"numerator", Float()), (b"denominator", Float())]
    response = [(b"result", Float())]
    errors = {ZeroDivisionError: b"ZERO"}


class Calculator(AMP):
    @Divide.responder
    def divide(self, numerator, denominator):
        return {"result": numerator / denominator}


async def serve(network):
    await TopicServerEndpoint(network, TOPIC).listen(Factory.forProtocol(Calculator))
    print("ready, as", network.public_key.hex())
    await Deferred()  # until Ctrl-C


async def divide(network, numerator, denominator):
    asking = await connectProtocol(TopicClientEndpoint(network, TOPIC), AMP())
    try:
        answer = await asking.callRemote(Divide, numerator=numerator, denominator=denominator)
        print(answer["result"])
    except ZeroDivisionError:
        print("not by zero")
    asking.transport.loseConnection()


async def main(reactor):
    parser = ArgumentParser()
    parser.add_argument("--profile", default="spaceswarm")
    parser.add_argument("--bootstrap", action="append")
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("role", choices=["serve", "divide"])
    parser.add_argument("numbers", nargs="*", type=float)
    options = parser.parse_args()
    network = await DHTNetwork.start(
        reactor, profile=options.profile, bootstrap=options.bootstrap, host=options.host, any_port=True
    )
    reactor.addSystemEventTrigger("before", "shutdown", network.close)
    await (serve(network) if options.role == "serve" else divide(network, *options.numbers))


if __name__ == "__main__":
    react(main)
