"""An authority of one's own: what it signs is accepted for its names and its days, by a real handshake."""

from __future__ import annotations

import datetime
import ssl

import pytest

from broker import tls
from broker.transport import Address, BadCertificate, parse_url
from runner.compose.certificates import Authority

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


class Files:
    """PEM files of a test."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, name, content):
        path = self.folder / name
        path.write_bytes(content)
        return str(path)

    def issued(self, name, issued):
        return self(f"{name}.pem", issued.certificate), self(f"{name}-key.pem", issued.key)


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


def handshake(server, client, name):
    """Shake hands in memory, in both directions; raises what the client or the server raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(to_client, to_server, server_hostname=name)
    there = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(10):
        for end in (here, there):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return here.getpeercert(), there.getpeercert()


def serving(files, issued, ca=None):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
    context.load_cert_chain(*files.issued("server", issued))
    if ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.mark.parametrize("name", ["broker", "localhost", "127.0.0.1", "::1"])
def test_a_server_is_known_under_its_names(files, name):
    authority = Authority("test", 30)
    ca = files("ca.pem", authority.certificate)
    server = serving(files, authority.server(["broker", "localhost", "127.0.0.1", "::1"]))
    handshake(server, tls.context(Address(name, 1, tls=True, ca=ca)), name)


def test_and_under_no_other(files):
    authority = Authority("test", 30)
    address = Address("localhost", 8883, tls=True, ca=files("ca.pem", authority.certificate))
    with pytest.raises(ssl.SSLCertVerificationError) as failed:
        handshake(serving(files, authority.server(["broker"])), tls.context(address), "localhost")
    said = str(tls.explained(failed.value, address))
    assert said.startswith("mqtts://localhost:8883: the broker's certificate is for another name")
    assert said.endswith("expected one for 'localhost'")


def test_a_certificate_of_another_authority_is_refused(files):
    address = Address("broker", 8883, tls=True, ca=files("ca.pem", Authority("one", 30).certificate))
    with pytest.raises(ssl.SSLCertVerificationError) as failed:
        handshake(serving(files, Authority("two", 30).server(["broker"])), tls.context(address), "broker")
    assert f"is not signed by ca = {address.ca}" in str(tls.explained(failed.value, address))


@pytest.mark.parametrize("start", [NOW - 3 * DAY, NOW + 3 * DAY], ids=["expired", "not yet valid"])
def test_a_certificate_of_other_days_is_refused(files, start):
    authority = Authority("test", 1, start)
    address = Address("broker", 8883, tls=True, ca=files("ca.pem", authority.certificate))
    with pytest.raises(ssl.SSLCertVerificationError) as failed:
        handshake(serving(files, authority.server(["broker"])), tls.context(address), "broker")
    said = str(tls.explained(failed.value, address))
    assert "cannot be used today" in said
    assert "expired" in said or "not yet valid" in said


def test_a_client_shows_who_it_is(files):
    authority = Authority("test", 30)
    ca = files("ca.pem", authority.certificate)
    cert, key = files.issued("guest", authority.client("guest"))
    address = Address("broker", 8883, tls=True, ca=ca, cert=cert, key=key)
    _, seen = handshake(serving(files, authority.server(["broker"]), ca), tls.context(address), "broker")
    assert seen["subject"] == ((("commonName", "guest"),),)


def test_a_client_certificate_is_none_for_a_server(files):
    authority = Authority("test", 30)
    address = Address("broker", 8883, tls=True, ca=files("ca.pem", authority.certificate))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(serving(files, authority.client("broker")), tls.context(address), "broker")


@pytest.mark.parametrize("year", [1999, 2020, 2049, 2055])
def test_the_days_of_a_certificate_are_read_as_openssl_reads_them(files, year):
    issued = Authority("test", 400, datetime.datetime(year, 5, 6, 7, 8, 9, tzinfo=datetime.UTC)).client("x")
    x509 = pytest.importorskip("cryptography.x509").load_pem_x509_certificate(issued.certificate)
    read = tls._validity("a remark\n" + issued.certificate.decode() + "more")
    assert read == (x509.not_valid_before_utc, x509.not_valid_after_utc)


# --- files that cannot be used: one line, before anything is connected --------------------------------


@pytest.fixture
def pair(files):
    authority = Authority("test", 30)
    return files("ca.pem", authority.certificate), *files.issued("guest", authority.client("guest"))


def refusal(**paths):
    with pytest.raises(BadCertificate) as refused:
        tls.context(Address("broker", 8883, tls=True, **paths))
    text = str(refused.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("name", ["ca", "cert", "key"])
def test_a_missing_file_is_named(pair, name):
    paths = dict(zip(("ca", "cert", "key"), pair, strict=True)) | {name: "/nowhere/x.pem"}
    assert refusal(**paths) == f"{name} = /nowhere/x.pem: No such file or directory; expected a PEM file"


def test_an_authority_without_a_certificate(files, pair):
    path = files("empty.pem", b"nothing")
    assert refusal(ca=path) == f"ca = {path}: holds no certificate; expected PEM"


def test_the_key_of_another_certificate(files, pair):
    ca, cert, _ = pair
    _, other = files.issued("other", Authority("test", 30).client("other"))
    assert refusal(ca=ca, cert=cert, key=other) == f"key = {other}: is not the private key of cert = {cert}"


def test_a_key_with_a_passphrase_does_not_ask_the_terminal(files, pair):
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    ca, cert, key = pair
    with open(key, "rb") as file:
        loaded = serialization.load_pem_private_key(file.read(), None)
    locked = files(
        "locked.pem",
        loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        ),
    )
    assert "no passphrase" in refusal(ca=ca, cert=cert, key=locked)


def test_an_expired_client_certificate_is_not_even_shown(files, pair):
    old = Authority("test", 1, NOW - 10 * DAY)
    cert, key = files.issued("old", old.client("guest"))
    said = refusal(ca=pair[0], cert=cert, key=key)
    assert said.startswith(f"cert = {cert}: valid from ")
    assert said.endswith("expected a certificate that is valid today")


@pytest.mark.parametrize("name", ["ca", "cert", "key"])
def test_certificates_without_tls_are_a_mistake(name):
    with pytest.raises(ValueError, match=f"{name} = x.pem is of no use without TLS; expected mqtts://"):
        parse_url("mqtt://broker", **{name: "x.pem"})


@pytest.mark.parametrize("given", [{"cert": "x.pem"}, {"key": "x.pem"}])
def test_half_a_client_certificate_is_a_mistake(given):
    with pytest.raises(ValueError, match="needs both"):
        parse_url("mqtts://broker", **given)
