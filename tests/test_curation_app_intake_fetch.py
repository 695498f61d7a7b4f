"""Downloading a stranger's URL, told with real servers on this machine's own addresses."""

import contextlib
import gzip
import http.server
import io
import ipaddress
import itertools
import socket
import socketserver
import ssl
import subprocess
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.errors import UserError
from curation_app.intake.fetch import Fetched, FetchError, Rules, fetch
from tests.needs import missing

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]
HERE = ipaddress.ip_network("127.0.0.0/8")


def png(side: int = 16) -> bytes:
    pixels = np.random.default_rng(side).integers(0, 256, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


class Server(http.server.ThreadingHTTPServer):
    """Answers each path as it is told to, and remembers who asked."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], answers: dict[str, Answer]) -> None:
        self.answers, self.asked = answers, list[str]()
        super().__init__(address, Handler)

    def url(self, path: str = "/cat.png", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.server_port}{path}"

    def rules(self, **more: Any) -> Rules:
        return Rules(ports=frozenset([self.server_port]), networks=(HERE,), **more)

    def fetch(self, path: str = "/cat.png", **more: Any) -> Fetched:
        return fetch(self.url(path), self.rules(**more))

    def refusal(self, path: str, **more: Any) -> str:
        with pytest.raises(FetchError) as caught:
            self.fetch(path, **more)
        assert "\n" not in str(caught.value)
        return caught.value.reason


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.headers["Host"])
        with contextlib.suppress(OSError):  # a client that hangs up is what some tests want
            self.server.answers[self.path](self)

    def log_message(self, *_: Any) -> None:
        pass


def says(
    data: bytes = b"", kind: str | None = "image/png", status: int = 200, **headers: str
) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        if kind is not None:
            handler.send_header("Content-Type", kind)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in ({"Content-Length": str(len(data))} | given).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)

    return answer


@contextlib.contextmanager
def serving(answers: dict[str, Answer], host: str = "127.0.0.1", port: int = 0) -> Iterator[Server]:
    with Server((host, port), answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@contextlib.contextmanager
def raw_server(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that says what no decent one would; its port."""

    class Talk(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                self.request.recv(4096)
                talk(self.request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Talk) as server:
        server.daemon_threads, server.block_on_close = True, False
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield int(server.server_address[1])
        server.shutdown()
        thread.join()


def test_a_picture_comes_with_its_provenance() -> None:
    with serving({"/a%20cat.png?x=1": says(png())}) as server:
        got = server.fetch("/a%20cat.png?x=1#part")
        assert (got.data, got.media_type) == (png(), "image/png")
        assert got.final_url == server.url("/a%20cat.png?x=1")
        assert got.at.endswith("+00:00")
        assert server.asked == [f"127.0.0.1:{server.server_port}"]


def test_letters_beyond_ascii_reach_the_server_as_utf8() -> None:
    with serving({"/k%C3%A4tzchen.png": says(png())}) as server:
        assert server.fetch("/kätzchen.png").data == png()


def test_a_host_is_known_by_its_name_also_when_reached_by_its_checked_address() -> None:
    with serving({"/cat.png": says(png())}) as server:
        fetch(
            server.url(host="Pictures.EXAMPLE"),
            server.rules(resolve=lambda host, port: ["127.0.0.9", "127.0.0.1"]),
        )
        assert server.asked == [f"pictures.example:{server.server_port}"]


def test_redirects_are_followed_by_hand_and_each_is_checked() -> None:
    def to(where: str, status: int = 302) -> Answer:
        return says(status=status, Location=where)

    answers = {"/cat.png": says(png()), "/a": to("/b", 301), "/b": to("cat.png", 308)}
    answers |= {f"/{n}": to(f"/{n + 1}") for n in range(5)} | {"/5": to("/cat.png")}
    answers |= {"/loop": to("/loop"), "/nowhere": says(status=302)}
    answers |= {
        "/metadata": to("http://169.254.169.254/latest/meta-data/"),
        "/inner": to("http://[::1]/"),
        "/file": to("file:///etc/passwd"),
        "/user": to("http://a:b@example.com/"),
        "/port": to("http://example.com:6379/"),
        "/crlf": to("http://example.com/%0d%0aX: y z"),
    }
    with serving(answers) as server:
        assert server.fetch("/a").final_url == server.url()
        assert server.fetch("/1").data == png()
        assert "redirects more than 5" in server.refusal("/0")
        assert "redirects more than 5" in server.refusal("/loop")
        assert "redirects to nowhere" in server.refusal("/nowhere")
        assert "port 80 is not allowed" in server.refusal("/metadata")
        rules = Rules(ports=frozenset([80, 443, server.server_port]), networks=(HERE,))
        for path, why in {
            "/metadata": "not on the public internet",
            "/inner": "not on the public internet",
            "/file": "only http",
            "/user": "user name or password",
            "/port": "port 6379",
        }.items():
            with pytest.raises(FetchError, match=why):
                fetch(server.url(path), rules)


def test_only_what_says_and_is_a_picture_is_taken() -> None:
    page = b"<!doctype html><script>alert(1)</script>" * 5
    drawing = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    answers = {
        "/octets": says(png(), "application/octet-stream"),
        "/untyped": says(png(), None),
        "/mistyped": says(png(), "image/jpeg"),
        "/html": says(page, "text/html; charset=utf-8"),
        "/png-as-html": says(png(), "text/html"),
        "/html-as-png": says(page),
        "/svg": says(drawing, "image/svg+xml"),
        "/svg-as-png": says(drawing),
        "/json": says(b"{}", "application/json"),
        "/empty": says(b""),
        "/missing": says(b"gone", "text/html", 404),
        "/partial": says(png(), status=206),
        "/nothing": says(status=204),
    }
    with serving(answers) as server:
        assert server.fetch("/octets").media_type == "image/png"
        assert server.fetch("/untyped").data == png()
        assert server.fetch("/mistyped").media_type == "image/png"
        assert server.refusal("/html") == "the server calls it text/html, not a picture"
        assert "text/html" in server.refusal("/png-as-html")
        assert "not a picture of a known kind (PNG, JPG" in server.refusal("/html-as-png")
        assert "SVG drawing" in server.refusal("/svg")
        assert "not a picture" in server.refusal("/svg-as-png")
        assert "application/json" in server.refusal("/json")
        assert "not a picture" in server.refusal("/empty")
        assert server.refusal("/missing") == "the server answered 404 Not Found"
        assert "206" in server.refusal("/partial")
        assert "204" in server.refusal("/nothing")


def test_the_size_limit_holds_whatever_the_server_states() -> None:
    def endless(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.protocol_version = "HTTP/1.0"
        handler.send_response(200)
        handler.send_header("Content-Type", "image/png")
        handler.end_headers()
        handler.wfile.write(png())
        while True:
            handler.wfile.write(bytes(65536))

    large = png() + bytes(300_000)
    answers = {
        "/stated": says(large),
        "/endless": endless,
        "/chunked": says(
            b"186a0\r\n" + large[:100_000] + b"\r\nfffffffff\r\n" + large,
            Transfer_Encoding="chunked",
            Content_Length="5",
        ),
        "/short": says(png(), Content_Length="5000"),
        "/cut-chunk": says(b"fff\r\n" + png(), Transfer_Encoding="chunked"),
    }
    with serving(answers) as server:
        for path in ("/stated", "/endless", "/chunked"):
            assert server.refusal(path, max_bytes=200_000) == "it is larger than 0.190735 MiB"
        assert "ended before" in server.refusal("/short")
        assert "not HTTP" in server.refusal("/cut-chunk")


def test_packed_bodies_are_unpacked_within_the_limit() -> None:
    bomb = gzip.compress(png() + bytes(50 * 2**20), 9)
    assert len(bomb) < 100_000
    hollow = b"\x78\x9c" + b"\0\0\0\xff\xff" * 100_000  # blocks that hold nothing
    answers = {
        "/gzip": says(gzip.compress(png()), Content_Encoding="gzip"),
        "/deflate": says(zlib.compress(png()), Content_Encoding="Deflate"),
        "/bomb": says(bomb, Content_Encoding="gzip"),
        "/hollow": says(hollow, Content_Encoding="deflate"),
        "/broken": says(b"no gzip at all", Content_Encoding="gzip"),
        "/unknown": says(png(), Content_Encoding="br"),
        "/twice": says(png(), Content_Encoding="gzip, gzip"),
    }
    with serving(answers) as server:
        assert server.fetch("/gzip").data == png()
        assert server.fetch("/deflate").data == png()
        assert "larger than 1 MiB" in server.refusal("/bomb", max_bytes=2**20)
        assert "larger than" in server.refusal("/hollow", max_bytes=100_000)
        assert "cannot be unpacked" in server.refusal("/broken")
        assert "packs it as 'br'" in server.refusal("/unknown")
        assert "packs it as 'gzip, gzip'" in server.refusal("/twice")


def trickle(data: bytes) -> Callable[[socket.socket], None]:
    def talk(connected: socket.socket) -> None:
        for byte in itertools.chain(data, itertools.repeat(ord("a"))):
            connected.sendall(bytes([byte]))
            time.sleep(0.02)

    return talk


@pytest.mark.parametrize("where", ["status", "headers", "body", "chunk", "trailer", "continue"])
def test_a_trickle_of_bytes_does_not_outlast_the_time_limit(where: str) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n"
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n"
    start = {
        "status": b"",
        "headers": head + b"X: ",
        "body": head + b"\r\n" + png(),
        "chunk": chunked + b"5;",
        "trailer": chunked + b"0\r\nX: ",
        "continue": b"HTTP/1.1 100 Continue\r\n\r\n" * 3,
    }[where]
    quick = len(start)

    def talk(connected: socket.socket) -> None:
        connected.sendall(start[:quick])
        trickle(b"")(connected)

    with raw_server(talk) as port:
        rules = Rules(ports=frozenset([port]), networks=(HERE,), whole_s=0.5, silence_s=30)
        began = time.monotonic()
        with pytest.raises(FetchError, match=r"within 0\.5 s"):
            fetch(f"http://127.0.0.1:{port}/", rules)
        assert time.monotonic() - began < 20  # it would trickle for ever


def test_silence_is_not_waited_for() -> None:
    done = threading.Event()

    def say_nothing(connected: socket.socket) -> None:
        done.wait(5)

    with raw_server(say_nothing) as port:
        rules = Rules(ports=frozenset([port]), networks=(HERE,), silence_s=0.2)
        with pytest.raises(FetchError, match=r"said nothing for 0\.2 s"):
            fetch(f"http://127.0.0.1:{port}/", rules)
        with pytest.raises(FetchError, match=r"said nothing for 0\.2 s"):
            fetch(f"https://127.0.0.1:{port}/", rules)
        done.set()


@pytest.mark.parametrize(
    "answer",
    [
        *(
            b"",
            b"\r\n",
            b"\x1b[31mred\x07\r\n",
            b"SSH-2.0-OpenSSH_9\r\n",
            b"HTTP/1.1 abc\r\n\r\n",
            b"+PONG\r\n",
        ),
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: \xff\xfe\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://\xff\xfe/\r\n\r\n",
        b"HTTP/1.1 999 \x1b[31mred\r\n\r\n",
    ],
)
def test_an_answer_that_makes_no_sense_is_one_line(answer: bytes) -> None:
    with raw_server(lambda connected: connected.sendall(answer)) as port:
        rules = Rules(ports=frozenset([port, 80]), networks=(HERE,), silence_s=2)
        with pytest.raises(FetchError) as caught:
            fetch(f"http://127.0.0.1:{port}/", rules)
        assert str(caught.value).isprintable()


def test_nobody_there_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(FetchError, match="cannot be reached"):
            fetch(f"http://127.0.0.1:{port}/", Rules(ports=frozenset([port]), networks=(HERE,)))
    rules = Rules(resolve=lambda host, port: [])
    with pytest.raises(UserError, match=r"^http://nobody\.example/: there is no host nobody"):
        fetch("http://nobody.example/", rules)


def test_a_busy_server_is_asked_again_after_as_long_as_it_says() -> None:
    pauses: list[float] = []
    turns = itertools.count()

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        turn = next(turns)
        says(png(), status=200 if turn == 2 else (429, 503)[turn], Retry_After="7")(handler)

    with serving({"/cat.png": answer}) as server:
        assert server.fetch(pause=pauses.append).data == png()
        assert pauses == [7, 7]


def test_a_server_that_stays_busy_is_given_up() -> None:
    pauses: list[float] = []
    answers = {
        "/always": says(status=503),
        "/long": says(status=429, Retry_After="3600"),
        "/date": says(status=429, Retry_After=formatdate(time.time() + 9000, usegmt=True)),
        "/past": says(status=429, Retry_After=formatdate(0, usegmt=True)),
        "/odd": says(status=429, Retry_After="soon"),
    }
    with serving(answers) as server:
        assert "also when asked 3 times" in server.refusal("/always", pause=pauses.append)
        assert pauses == [1, 2]
        pauses.clear()
        assert "(429) for 3600 s" in server.refusal("/long", pause=pauses.append)
        assert "try later" in server.refusal("/date", pause=pauses.append)
        assert pauses == []
        server.refusal("/past", pause=pauses.append)
        server.refusal("/odd", pause=pauses.append)
        assert pauses == [0, 0, 1, 2]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate and key for pictures.example, signed by itself."""
    path = tmp_path_factory.mktemp("tls") / "pictures.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=pictures.example", "-keyout", str(path)]
    command += ["-addext", "subjectAltName=DNS:pictures.example", "-out", f"{path}.crt"]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        missing("openssl is not installed")
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def test_tls_verifies_the_name_and_not_the_address(certificate: Path) -> None:
    serverside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serverside.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=certificate)
    with serving({"/cat.png": says(png())}) as server:
        server.socket = serverside.wrap_socket(server.socket, server_side=True)
        rules = server.rules(resolve=lambda host, port: ["127.0.0.1"], tls=lambda: trusting)
        url = f"https://pictures.example:{server.server_port}/cat.png"
        assert fetch(url, rules).final_url == url
        with pytest.raises(FetchError, match=r"certificate is not trusted.*other\.example"):
            fetch(url.replace("pictures", "other"), rules)
        with pytest.raises(FetchError, match="certificate is not trusted"):
            fetch(url.replace("pictures.example", "127.0.0.1"), rules)
        with pytest.raises(FetchError, match="certificate is not trusted"):
            fetch(url, server.rules(resolve=lambda host, port: ["127.0.0.1"]))
        assert len(server.asked) == 1


def test_a_server_without_tls_is_one_line() -> None:
    with serving({"/cat.png": says(png())}) as server, pytest.raises(FetchError, match="TLS"):
        fetch(server.url().replace("http:", "https:"), server.rules())
