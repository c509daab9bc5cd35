"""
TLS servers that ask for client certificates, as the text form ``mtls:`` of an endpoint.

Twisted's own ``ssl:`` can't verify who connects; this is the same with ``clientCA`` added.  In a form of its own it
works wherever an endpoint's text does, inside ``ws:endpoint=...`` too.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IStreamServerEndpoint, IStreamServerEndpointStringParser
from twisted.plugin import IPlugin
from zope.interface import implementer

if TYPE_CHECKING:
    from twisted.internet.ssl import Certificate, CertificateOptions


@implementer(IPlugin, IStreamServerEndpointStringParser)
class MutualTLSParser:
    """
    ``mtls:``, a TLS server whose clients must have a certificate::

        mtls:4978:privateKey=key.pem:certKey=cert.pem:clientCA=ca.pem

    ``clientCA`` is a file with the authorities that may have signed it, all in PEM format; ``certKey`` (by default the
    private key's file) may hold the chain behind our own certificate too.  ``interface`` and ``backlog`` are as in
    ``ssl:``; without an interface, all are listened on.
    """

    prefix = "mtls"

    def parseStreamServer(self, reactor: Any, *args: Any, **kwargs: Any) -> IStreamServerEndpoint:
        """See ``IStreamServerEndpointStringParser``, and :meth:`server`."""
        return self.server(reactor, *args, **kwargs)

    def server(
        self,
        reactor: Any,
        port: str,
        privateKey: str = "server.pem",
        certKey: str = "",
        clientCA: str = "",
        interface: str = "",
        backlog: str = "50",
    ) -> IStreamServerEndpoint:
        """
        Make a server endpoint of the string's arguments.

        :raises ValueError: no ``clientCA``, or a file or number that is none.
        :raises OSError: a file can't be read.
        """
        from twisted.internet.endpoints import SSL4ServerEndpoint

        if not clientCA:
            raise ValueError("clientCA is missing: the file with the certificates that sign the clients'")
        options = certificate_options(privateKey, certKey or privateKey, clientCA)
        return SSL4ServerEndpoint(reactor, int(port), options, int(backlog), interface)


def certificate_options(private_key: str, certificate: str, client_ca: str) -> CertificateOptions:
    """
    What a TLS server that verifies its clients needs; each argument is the name of a PEM file.

    :param certificate: our own first, then the chain behind it.
    :raises ValueError: one of them does not hold what it should, or key and certificate are no pair.
    :raises OSError: one can't be read.
    """
    from OpenSSL import SSL, crypto
    from twisted.internet.ssl import CertificateOptions, KeyPair, trustRootFromCertificates

    own, *chain = _certificates(certificate)
    try:
        options = CertificateOptions(
            privateKey=KeyPair.load(Path(private_key).read_bytes(), crypto.FILETYPE_PEM).original,
            certificate=own.original,
            extraCertChain=[each.original for each in chain],
            trustRoot=trustRootFromCertificates(_certificates(client_ca)),
        )
        options.getContext()  # else a key of somebody else's would be noticed by the first client
    except (SSL.Error, crypto.Error) as problem:
        raise ValueError(f"{private_key} and {certificate} are no private key and its certificate") from problem
    return options


def _certificates(path: str) -> list[Certificate]:
    """:raises ValueError: there is none in the file."""
    from cryptography.x509 import load_pem_x509_certificates
    from OpenSSL.crypto import X509
    from twisted.internet.ssl import Certificate

    try:
        found = load_pem_x509_certificates(Path(path).read_bytes())
    except ValueError as problem:
        raise ValueError(f"{path} holds no certificate in PEM format") from problem
    return [Certificate(X509.from_cryptography(each)) for each in found]
