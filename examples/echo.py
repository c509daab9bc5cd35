"""
A service and its client that find each other by a topic, through a proxy server.

With ``./serve`` running, in two terminals::

    python examples/echo.py serve
    python examples/echo.py ask "Is anybody there?"
"""

from __future__ import annotations

from argparse import ArgumentParser

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import react
from twisted.protocols.basic import LineOnlyReceiver

from spaceswarm_proxy import ProxyNetwork, TopicClientEndpoint, TopicServerEndpoint, topic

TOPIC = topic("examples/echo")


class Echo(Protocol):
    def dataReceived(self, data):
        self.transport.write(data)


class Question(LineOnlyReceiver):
    def __init__(self, text):
        self.text = text
        self.answer = Deferred()

    def connectionMade(self):
        self.sendLine(self.text.encode())

    def lineReceived(self, line):
        self.answer.callback(line.decode())
        self.transport.loseConnection()

    def connectionLost(self, reason):
        if not self.answer.called:
            self.answer.errback(reason)


async def serve(network):
    await TopicServerEndpoint(network, TOPIC).listen(Factory.forProtocol(Echo))
    print("ready: others can find us")
    await Deferred()  # until Ctrl-C


async def ask(network, text):
    question = await connectProtocol(TopicClientEndpoint(network, TOPIC), Question(text))
    print(question.transport.getPeer(), "answers:", await question.answer)


async def main(reactor):
    parser = ArgumentParser()
    parser.add_argument("role", choices=["serve", "ask"])
    parser.add_argument("text", nargs="?", default="Hello!")
    parser.add_argument("--proxy", default="tcp:127.0.0.1:4978")
    options = parser.parse_args()
    network = ProxyNetwork(clientFromString(reactor, options.proxy))
    reactor.addSystemEventTrigger("before", "shutdown", network.close)
    await (serve(network) if options.role == "serve" else ask(network, options.text))


if __name__ == "__main__":
    react(main)
