"""
The proxy server among the services of a program of your own::

    twistd --nodaemon --python examples/proxy.tac
"""

from twisted.application.service import Application

from spaceswarm_proxy.service import Settings, SpaceswarmProxyService

application = Application("example")

settings = Settings(
    listen=("tcp:4978:interface=127.0.0.1", "ws:4977:interface=127.0.0.1"),
    announce_tcp=("my web pages=127.0.0.1:8080",),
    grace=5.0,
)
SpaceswarmProxyService(settings).setServiceParent(application)
