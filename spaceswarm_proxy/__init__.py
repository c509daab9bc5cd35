"""Any byte stream on the Spaceswarm and Hyperswarm peer-to-peer networks, with Twisted."""

import txaio

__version__ = "0.1.0"

# Before any module below makes its logger.
txaio.use_twisted()
