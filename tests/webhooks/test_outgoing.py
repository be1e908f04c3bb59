"""Where requests may go, and what receivers can do to us: nothing."""

import asyncio
import gzip
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mediakeep import outbound
from mediakeep.errors import InvalidInput
from mediakeep.outbound import is_public
from mediakeep.webhooks import outgoing
from mediakeep.webhooks.outgoing import check_url

NOT_PUBLIC = "The URL's host is not at a public address."

PRIVATE = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.254", "127.0.0.1", "127.9.9.9"),
    *(
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.254",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
    ),
    *(
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
    ),
    *("::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:100.64.0.1", "64:ff9b::7f00:1"),
    *(
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:a00:1::",
        "fc00::1",
        "fd00::1",
    ),
    *("fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1"),
]

PUBLIC = [
    *("1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.167.1.1"),
    *("2606:4700::1111", "2a00:1450:4001::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::"),
]


@pytest.fixture
def resolve(monkeypatch):
    """Has names mean these addresses: one list after the other, the last one for good."""

    def install(*answers):
        answers, asked = list(answers), []

        async def resolved(host):
            asked.append(host)
            return answers.pop(0) if len(answers) > 1 else answers[0]

        monkeypatch.setattr(outbound, "_resolve", resolved)
        return asked

    return install


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(outgoing, "SECONDS", 0.3)


async def post(url, *, allow_private=True):
    return await outgoing.post(url, body=b"{}", headers={"webhook-id": "a"}, allow_private=allow_private)


@pytest.mark.parametrize("address", PRIVATE)
async def test_an_address_that_is_not_public_is_refused(address, resolve):
    assert not is_public(ip_address(address))
    resolve([address])
    answer = await post("http://receiver.example/", allow_private=False)
    assert (answer.error, answer.status) == (NOT_PUBLIC, None)
    if "%" not in address:
        shown = f"[{address}]" if ":" in address else address
        with pytest.raises(InvalidInput, match=NOT_PUBLIC):
            check_url(f"http://{shown}:8080/a", allow_private=False)
        check_url(f"http://{shown}/a", allow_private=True)


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_internet_is_not(address):
    assert is_public(ip_address(address))
    check_url(f"https://[{address}]/" if ":" in address else f"https://{address}/", allow_private=False)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "[::1]", "[::ffff:7f00:1]"]
)
async def test_no_way_to_write_this_machine_leads_to_it(host, receiver):
    answer = await post(f"http://{host}:{receiver.port}/", allow_private=False)
    assert answer.error in {NOT_PUBLIC, "The URL's host cannot be found."}
    assert receiver.got == []


async def test_one_private_address_among_others_is_enough(resolve, receiver):
    resolve(["8.8.8.8", "127.0.0.1"])
    answer = await post(f"http://receiver.example:{receiver.port}/", allow_private=False)
    assert answer.error == NOT_PUBLIC


async def test_a_name_that_means_something_else_a_moment_later_is_not_asked_again(
    resolve, receiver, monkeypatch
):
    asked = resolve(["8.8.8.8"], ["127.0.0.1"])
    connected = []

    def note(client, method, url, address, headers, content):
        connected.append(address)
        return client.build_request(method, f"http://127.0.0.1:{receiver.port}/", content=content)

    monkeypatch.setattr(outbound, "_request", note)
    answer = await post(f"http://receiver.example:{receiver.port}/", allow_private=False)
    assert (answer.error, connected, asked) == (None, ["8.8.8.8"], ["receiver.example"])
    answer = await post(f"http://receiver.example:{receiver.port}/", allow_private=False)
    assert (answer.error, connected) == (NOT_PUBLIC, ["8.8.8.8"])


async def test_the_connection_is_made_to_the_address_that_was_checked(resolve, receiver, monkeypatch):
    """The name means nothing to the system's own resolver: whoever asked that would get nowhere."""
    resolve(["127.0.0.1"])
    answer = await post(f"http://receiver.example:{receiver.port}/a?b=c")
    assert (answer.error, answer.status) == (None, 204)
    [got] = receiver.got
    assert got.headers["host"] == f"receiver.example:{receiver.port}"
    assert got.line == "POST /a?b=c HTTP/1.1"


async def test_where_the_first_address_is_down_the_next_one_is_tried(resolve, receiver):
    resolve(["127.0.0.2", "127.0.0.1"])
    answer = await post(f"http://receiver.example:{receiver.port}/")
    assert (answer.error, len(receiver.got)) == (None, 1)


async def test_a_redirect_is_not_followed(receiver):
    receiver.answers = [b"HTTP/1.1 307 Elsewhere\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"]
    answer = await post(receiver.url)
    assert answer.error == "The receiver answered 307; redirects are not followed."
    assert (answer.status, len(receiver.got)) == (307, 1)


async def test_a_receiver_that_does_not_answer_is_not_waited_for(receiver, quick):
    async def hang(writer):
        await asyncio.sleep(2)

    receiver.answers = [hang]
    answer = await post(receiver.url)
    assert answer.error == "The receiver did not answer within 0 s."
    assert 0.2 < answer.duration_seconds < 1.5


async def test_one_that_answers_drop_by_drop_neither(receiver, quick):
    async def drip(writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(40):
            writer.write(b"a")
            await writer.drain()
            await asyncio.sleep(0.05)

    receiver.answers = [drip]
    answer = await post(receiver.url)
    assert answer.error == "The receiver did not answer within 0 s."


async def test_of_a_huge_answer_the_beginning_is_read(receiver):
    written = 0

    async def pour(writer):
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        for _ in range(1000):
            writer.write(b"a" * 1_000_000)
            written += 1
            await writer.drain()

    receiver.answers = [pour]
    answer = await post(receiver.url)
    assert (answer.error, answer.body) == (None, "a" * 1000)
    assert written < 100


async def test_what_is_packed_stays_so(receiver):
    packed = gzip.compress(b"\0" * 10_000_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    receiver.answers = [head + packed]
    answer = await post(receiver.url)
    assert answer.error is None
    assert len(answer.body) <= 1000
    assert "\0" not in answer.body
    assert receiver.got[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\x00\xff" * 1000,
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 100_000,
        b"HTTP/1.1 999999 OK\r\n\r\n",
    ],
)
async def test_garbage_is_a_failure_like_any_other(garbage, receiver):
    receiver.answers = [garbage]
    answer = await post(receiver.url)
    assert answer.error.startswith("The request failed: ")
    assert len(answer.error) <= 500


async def test_where_nobody_listens_it_says_so():
    answer = await post("http://127.0.0.1:1/")
    assert answer.error.startswith("The request failed: ")


async def test_no_proxy_of_the_environment_is_asked(receiver, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert (await post(receiver.url)).error is None


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://receiver.example/", "The URL must begin with http:// or https:// and name a host."),
        ("file:///etc/passwd", "The URL must begin with http:// or https:// and name a host."),
        ("http:///path", "The URL must begin with http:// or https:// and name a host."),
        ("receiver.example", "The URL must begin with http:// or https:// and name a host."),
        ("https://me@receiver.example/", "The URL must not contain a user name or a password."),
        ("https://me:secret@receiver.example/", "The URL must not contain a user name or a password."),
        ("https://receiver.example:0/", "The URL is not an address."),
        ("https://receiver.example:99999/", "The URL is not an address."),
        ("https://receiver.example:port/", "The URL is not an address."),
        ("https://[::1/", "The URL is not an address."),
        ("https://receiver.example/\n", "The URL is not an address."),
        (f"https://{'a' * 64}.example/", "The URL is not an address."),
    ],
)
async def test_what_is_no_address_to_post_to_is_refused(url, reason):
    with pytest.raises(InvalidInput) as refused:
        check_url(url, allow_private=True)
    assert refused.value.detail == reason
    assert (await post(url)).error == reason


async def test_the_certificate_must_be_that_of_the_name(tmp_path, resolve, receiver, monkeypatch):
    certificate = _certificate(tmp_path, "receiver.example")
    ours = ssl.create_default_context(cafile=certificate)
    monkeypatch.setattr(outbound, "tls", lambda: ours)
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(certificate)
    names = []
    theirs.sni_callback = lambda _socket, name, _context: names.append(name)
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=theirs)
    port = server.sockets[0].getsockname()[1]
    resolve(["127.0.0.1"])
    assert (await post(f"https://receiver.example:{port}/")).error is None
    answer = await post(f"https://other.example:{port}/")
    assert "certificate" in answer.error.lower()
    assert names == ["receiver.example", "other.example"]
    assert len(receiver.got) == 1
    server.close()
    await asyncio.sleep(0)


def _certificate(folder, name):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path
