"""TLS on a connection to a broker: what is trusted, what is shown, and what went wrong, in one line.

Every text names the file or the broker, what was seen and what is expected. A certificate that does not
fit today does not fit in a second either, so these errors are never tried again.
"""

from __future__ import annotations

import datetime
import functools
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from broker.transport import BadCertificate

if TYPE_CHECKING:
    from broker.transport import Address

# Ends of alerts in OpenSSL's words, sent by a broker that has seen our certificate, or none.
_ALERTS = {
    "certificate required": "the broker asks for a client certificate and got none",
    "certificate expired": "the broker refuses the client certificate {cert}: it has expired",
    "certificate revoked": "the broker refuses the client certificate {cert}: it was revoked",
    "certificate unknown": "the broker refuses the client certificate {cert}",
    "bad certificate": "the broker refuses the client certificate {cert}",
    "unknown ca": "the broker refuses the client certificate {cert}: it does not know who signed it",
    "handshake failure": "the broker refuses the handshake; it may ask for a client certificate",
}
# OpenSSL's X509_V_ERR_*: an authority that was not given.
_UNTRUSTED = {2, 18, 19, 20, 21}
# Said when a connection breaks before a word: the alert that told why is often lost with the connection.
HANGS_UP = (
    "; a broker hangs up like this if the port does not speak TLS or if it wants a client certificate (cert "
    "and key) that it was not shown"
)
_CERTIFICATE = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_SEQUENCE, _UTC_TIME = 0x30, 0x17  # DER tags


def context(address: Address) -> ssl.SSLContext:
    """What a connection to this broker trusts and shows.

    Raises:
        BadCertificate: naming the file that cannot be used.
    """
    files = {"ca": address.ca, "cert": address.cert, "key": address.key}
    stamps = tuple(_stamp(name, path) for name, path in files.items() if path is not None)
    return _context(address.ca, address.cert, address.key, stamps)


# A process with many connections reads its files once, unless they change.
@functools.lru_cache(maxsize=8)
def _context(ca: str | None, cert: str | None, key: str | None, stamps: tuple[int, ...]) -> ssl.SSLContext:
    try:
        made = ssl.create_default_context(cafile=ca)
    except ssl.SSLError:
        raise BadCertificate(f"ca = {ca}: holds no certificate; expected PEM") from None
    if cert is not None:
        try:
            # Without a function OpenSSL would ask the terminal.
            made.load_cert_chain(cert, key, password=lambda: b"")
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise BadCertificate(f"key = {key}: is not the private key of cert = {cert}") from None
            raise BadCertificate(
                f"cert = {cert}, key = {key}: not a certificate and its private key; expected PEM, and no "
                "passphrase"
            ) from None
        begin, end = _validity(Path(cert).read_text("ascii", "replace"))
        today = datetime.datetime.now(datetime.UTC)
        if not begin <= today <= end:
            raise BadCertificate(
                f"cert = {cert}: valid from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC; expected a "
                "certificate that is valid today"
            )
    return made


def explained(error: BaseException | str, address: Address) -> BadCertificate | None:
    """The same failure in the user's words, if it is one of certificates; None if it is something else."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return BadCertificate(f"{address}: {_verification(error, address)}")
    text = str(error).lower().replace("_", " ")
    if "wrong version number" in text or "record layer failure" in text:
        return BadCertificate(f"{address}: does not speak TLS; expected a TLS port, or mqtt:// for this one")
    for end, words in _ALERTS.items():
        if f"alert {end}" in text:
            shown = words.format(cert=address.cert or "(none was given)")
            return BadCertificate(f"{address}: {shown}; expected one that it accepts, with cert and key")
    if isinstance(error, ssl.SSLError) and "certificate" in text:
        return BadCertificate(f"{address}: {error.reason or error}")
    return None


def _verification(error: ssl.SSLCertVerificationError, address: Address) -> str:
    message = error.verify_message.rstrip(".")
    authority = f"ca = {address.ca}" if address.ca is not None else "an authority that this system trusts"
    if error.verify_code in _UNTRUSTED:
        hint = "" if address.ca is not None else "; name its authority with ca"
        return f"the broker's certificate is not signed by {authority}: {message}{hint}"
    if "mismatch" in message.lower():
        return f"the broker's certificate is for another name ({message}); expected one for {address.host!r}"
    if "expired" in message or "not yet valid" in message:
        return f"the broker's certificate, or that of its authority, cannot be used today: {message}"
    return f"the broker's certificate is refused: {message}; expected one signed by {authority}"


def _stamp(name: str, path: str) -> int:
    try:
        with Path(path).open("rb") as file:
            return os.fstat(file.fileno()).st_mtime_ns
    except OSError as error:
        raise BadCertificate(f"{name} = {path}: {error.strerror}; expected a PEM file") from None


def _validity(pem: str) -> tuple[datetime.datetime, datetime.datetime]:
    """From when and until when the first certificate of a file is valid. OpenSSL has parsed it before.

    Python's ``ssl`` tells that of a peer's certificate only. RFC 5280, section 4.1: Certificate ::=
    SEQUENCE { SEQUENCE { [0] version, serial, algorithm, issuer, SEQUENCE { from, until }, ... } ... }.
    """
    begin, end = _CERTIFICATE
    der = ssl.PEM_cert_to_DER_cert(begin + pem.partition(begin)[2].partition(end)[0] + end)
    inside = _parts(_parts(der)[0][1])[0][1]
    # Version and serial number are no sequences: algorithm, issuer and validity are the first three.
    times = _parts([value for tag, value in _parts(inside) if tag == _SEQUENCE][2])
    first, last = (_time(tag, value.decode("ascii")) for tag, value in times)
    return first, last


def _time(tag: int, text: str) -> datetime.datetime:
    if tag == _UTC_TIME:  # two digits of the year: 1950 to 2049
        text = ("20" if int(text[:2]) < 50 else "19") + text
    return datetime.datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=datetime.UTC)


def _parts(der: bytes) -> list[tuple[int, bytes]]:
    """The DER values that stand one after another: (tag, content) each."""
    found, at = [], 0
    while at < len(der):
        tag, size = der[at], der[at + 1]
        at += 2
        if size & 0x80:
            width = size & 0x7F
            size, at = int.from_bytes(der[at : at + width], "big"), at + width
        found.append((tag, der[at : at + size]))
        at += size
    return found
