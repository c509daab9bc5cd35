"""The text forms ``ws:``, ``secret:`` and ``spaceswarm:`` of endpoints, for Twisted to find."""

from spaceswarm_proxy.endpoint_strings import SecretParser, SpaceswarmParser, WebSocketParser

secret = SecretParser()
spaceswarm = SpaceswarmParser()
ws = WebSocketParser()
