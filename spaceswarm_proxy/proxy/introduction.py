"""How a client tells its server who it is: from the server's READY to the moment at which the link can be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import txaio
from twisted.internet.defer import maybeDeferred
from twisted.python.failure import Failure

from spaceswarm_proxy.crypto.keeper import CHALLENGE_LENGTH
from spaceswarm_proxy.crypto.profile import PROFILES
from spaceswarm_proxy.errors import LinkError, NotSupportedError, SpaceswarmError
from spaceswarm_proxy.interfaces import KEY_LENGTH
from spaceswarm_proxy.keepers import keeper_of
from spaceswarm_proxy.proxy.features import Feature
from spaceswarm_proxy.proxy.sealed_streams import SealedStreams
from spaceswarm_proxy.proxy.sealer import Sealer
from spaceswarm_proxy.proxy.wire import Event, EventType
from spaceswarm_proxy.secret.labels import Labels

if TYPE_CHECKING:
    from spaceswarm_proxy.proxy.client_link import ClientLink

log = txaio.make_logger()

#: Names of what streams may be bound to that a server may tell of, and characters of each.
MAX_LABELS = 8
MAX_LABEL = 64


def introduce(link: ClientLink, ready: Event) -> None:
    """
    The server has said READY, and what is in force is settled: tell it who we are, by what it can do.

    ``link.begin`` is called when that is done, or the link closed when there is no way.

    :param ready: of the server.
    """
    network = link.network
    if Feature.END_TO_END in link.features:
        _keep_key(link, ready)
    elif network.end_to_end:
        link.close(LinkError("the proxy server does not let its clients keep their secret keys"))
    elif Feature.IDENTITY in link.features and Feature.END_TO_END in network.features:
        _give_key(link)
    else:  # it knows us already, or nobody
        link.begin(ready.key if ready.key and len(ready.key) == KEY_LENGTH else None)


def _keep_key(link: ClientLink, ready: Event) -> None:
    """End-to-end mode: prove that we have the key, and wait for no answer."""
    profile = PROFILES.get(ready.profile or "")
    if profile is None:
        name = (ready.profile or "")[:MAX_LABEL]
        link.close(LinkError(f"the proxy server is on a network that is not known here: {name!r}"))
        return
    if ready.token is None or len(ready.token) != CHALLENGE_LENGTH:
        link.close(LinkError("the proxy server does not say what is to be signed"))
        return
    keeper = keeper_of(link.network.key_pair)

    def proved(proof: bytes) -> None:
        link.send_if_open(Event(EventType.IDENTIFY, key=keeper.public_key, data=proof))
        link.begin(keeper.public_key)

    labels = Labels(_labels(ready.data) or profile.stream_labels)
    link.sealed = SealedStreams(link, Sealer(link, keeper, profile), labels)
    maybeDeferred(keeper.prove, ready.token).addCallback(proved).addErrback(_not_introduced, link)


def _labels(told: bytes | None) -> tuple[str, ...]:
    """:returns: what a server says that streams may be bound to, as far as that can be."""
    lines = (told or b"")[: MAX_LABELS * MAX_LABEL].decode("utf-8", "replace").split("\n")[:MAX_LABELS]
    return tuple(dict.fromkeys(line for line in lines if 0 < len(line) <= MAX_LABEL))


def _give_key(link: ClientLink) -> None:
    """The server can't do without our secret key: it may have it, as we have not insisted."""
    try:
        key = link.network.secret_key
    except NotSupportedError as problem:
        link.close(LinkError(str(problem)))
        return

    def known(_: None) -> None:
        link.begin(link.network.key_pair.public_key)

    def unknown(failure: Failure) -> None:
        failure.trap(NotSupportedError)  # there are no identities
        link.begin(None)

    asked = link.ask(Event(EventType.IDENTIFY, key=key)).addCallbacks(known, unknown)
    asked.addErrback(_not_introduced, link)


def _not_introduced(failure: Failure, link: ClientLink) -> None:
    if not failure.check(SpaceswarmError):
        log.failure("we can't say who we are", failure=failure)
    link.close(LinkError(f"the proxy server does not take our identity: {failure.getErrorMessage()}"))
