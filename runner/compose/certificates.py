"""An authority of one's own, for one deployment: it signs what is needed, and its private key is never kept.

Whoever holds the authority's key could pretend to be the broker. Nobody needs it after the broker's
certificate is signed, so it stays in memory and goes with the process; new certificates come with a new
authority.
"""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runner.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

# Clocks of two machines may differ by so much.
_SKEW = datetime.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its private key, PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """Signs certificates until it is forgotten.

    Args:
        name: common name of the authority.
        days: how long its certificate, and all that it signs, is valid from now.
        now: the time; for tests.

    Attributes:
        certificate: its own, PEM: what clients are told to trust.

    Raises:
        UserError: if the package ``cryptography`` is not installed.
    """

    def __init__(self, name: str, days: int, now: datetime.datetime | None = None) -> None:
        # Only this command needs it: the extra `compose`.
        try:
            from cryptography import x509
            from cryptography.hazmat.primitives import hashes, serialization
            from cryptography.hazmat.primitives.asymmetric import ec
        except ImportError:
            raise UserError(
                "certificates need the package cryptography: pip install 'vicinal[compose]'"
            ) from None
        self._x509, self._hashes, self._serialization, self._ec = x509, hashes, serialization, ec
        start = now if now is not None else datetime.datetime.now(datetime.UTC)
        self._from, self._until = start - _SKEW, start + datetime.timedelta(days=days)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = self._named(name)
        usage = self._usage(key_cert_sign=True, crl_sign=True)
        builder = (
            self._begun(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
        )
        self._certificate = builder.sign(self._key, hashes.SHA256())
        self.certificate: bytes = self._certificate.public_bytes(serialization.Encoding.PEM)

    def server(self, names: Sequence[str]) -> Issued:
        """A certificate for a server that is reached under these host names and addresses."""
        x509 = self._x509
        alternatives = x509.SubjectAlternativeName([self._general(name) for name in names])
        return self._issue(names[0], x509.oid.ExtendedKeyUsageOID.SERVER_AUTH, alternatives)

    def client(self, user: str) -> Issued:
        """A certificate that says of a client who it is: its common name is the user's."""
        return self._issue(user, self._x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH)

    def _issue(self, name: str, purpose: Any, alternatives: Any = None) -> Issued:
        x509, encoding = self._x509, self._serialization.Encoding.PEM
        key = self._ec.generate_private_key(self._ec.SECP256R1())
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            self._begun(self._named(name), key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(self._usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(authority, critical=False)
        )
        if alternatives is not None:
            builder = builder.add_extension(alternatives, critical=False)
        return Issued(
            builder.sign(self._key, self._hashes.SHA256()).public_bytes(encoding),
            key.private_bytes(
                encoding,
                self._serialization.PrivateFormat.PKCS8,
                self._serialization.NoEncryption(),
            ),
        )

    def _begun(self, name: Any, key: Any) -> Any:
        x509 = self._x509
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._from)
            .not_valid_after(self._until)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )

    def _named(self, name: str) -> Any:
        x509 = self._x509
        # A common name holds 64 characters, and nothing checks ours: names to be checked are alternatives.
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name[:64])])

    def _general(self, name: str) -> Any:
        try:
            return self._x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            return self._x509.DNSName(name)

    def _usage(self, **wanted: bool) -> Any:
        kinds = (
            *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
            *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
        )
        return self._x509.KeyUsage(**{kind: wanted.get(kind, False) for kind in kinds})
