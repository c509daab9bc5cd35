"""The public names come here when they exist."""

import txaio

# Before any module below makes its logger.
txaio.use_twisted()
