"""``twistd spaceswarm-proxy``, and the endpoints' text form ``mtls:``, for Twisted to find."""

from twisted.application.service import ServiceMaker

from spaceswarm_proxy.mtls import MutualTLSParser

proxy = ServiceMaker(
    "Spaceswarm proxy",
    "spaceswarm_proxy.service",
    "A proxy server for the Spaceswarm and Hyperswarm peer-to-peer networks",
    "spaceswarm-proxy",
)
mtls = MutualTLSParser()
