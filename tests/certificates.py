"""Certificates for tests: an authority, and whom it vouches for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from twisted.internet.ssl import PrivateCertificate


class Authority:
    """Signs certificates."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        self.pem = _certificate(self._name, self._key.public_key(), self._name, self._key, True)

    def issue(self, name: str) -> tuple[bytes, bytes]:
        """:returns: a private key and a certificate for it, in PEM format."""
        key = ec.generate_private_key(ec.SECP256R1())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return private, _certificate(_name(name), key.public_key(), self._name, self._key, False)

    def client(self, name: str) -> PrivateCertificate:
        """Somebody with a certificate of this authority."""
        return PrivateCertificate.loadPEM(b"".join(self.issue(name)))


def write(directory: str, **files: bytes) -> None:
    """Make a directory with files in it."""
    Path(directory).mkdir()
    for name, content in files.items():
        (Path(directory) / f"{name}.pem").write_bytes(content)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, issuer: x509.Name, by: ec.EllipticCurvePrivateKey, ca: bool
) -> bytes:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
    builder = builder.add_extension(x509.BasicConstraints(ca, None), True)
    return builder.sign(by, hashes.SHA256()).public_bytes(Encoding.PEM)
