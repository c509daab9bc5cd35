"""The text forms ``ws:`` and ``spaceswarm:`` of endpoints, for Twisted to find."""

from spaceswarm_proxy.endpoint_strings import SpaceswarmParser, WebSocketParser

spaceswarm = SpaceswarmParser()
ws = WebSocketParser()
