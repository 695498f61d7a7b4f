"""YAMNet's files: given, of the environment, of the cache, fetched and checked, or asked for."""

import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from core.errors import UserError
from core.files import digest_bytes
from core.pretrained.listening.weights import CLASS_MAP, category_names, fetch, find_weights

FILES = {"/weights": b"the weights", "/names": b'index,mid,display_name\n0,/m/0,"Dog, big"\n'}


@pytest.fixture
def server() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path in FILES
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(FILES.get(self.path, b""))

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


def test_what_is_given_comes_before_the_environment(tmp_path: Path) -> None:
    given, stated = tmp_path / "given.tflite", tmp_path / "stated.tflite"
    given.touch()
    stated.touch()
    environment = {"MENAGERIE_YAMNET": str(stated)}
    assert find_weights(given, environment) == given
    assert find_weights(None, environment) == stated
    stated.unlink()
    with pytest.raises(UserError, match=r"no weights of YAMNet at .*stated\.tflite: give --yamnet"):
        find_weights(None, environment)


def test_what_is_fetched_is_checked_and_kept(server: str, tmp_path: Path) -> None:
    files = [(server + path, digest_bytes(data)) for path, data in FILES.items()]
    environment = {"XDG_CACHE_HOME": str(tmp_path)}
    found = find_weights(None, environment, (files[0], files[1]))
    assert found.read_bytes() == b"the weights"
    assert category_names(found) == ("Dog, big",)
    gone = ("http://127.0.0.1:1/none", "")
    assert find_weights(None, environment, (gone, gone)) == found


def test_another_file_than_the_known_one_is_not_kept(server: str, tmp_path: Path) -> None:
    wrong = (server + "/weights", "0" * 64)
    with pytest.raises(UserError, match=r"/weights gave a file with digest \w{12}, not 0{12}"):
        find_weights(None, {"XDG_CACHE_HOME": str(tmp_path)}, (wrong, wrong))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_without_a_network_one_line_says_what_to_give(server: str) -> None:
    for address in ("http://127.0.0.1:1/none", server + "/none"):
        with pytest.raises(UserError, match=r"could not be fetched .*: give --yamnet PATH or set"):
            fetch(address, "")


def test_names_lie_beside_the_weights_or_in_their_metadata(tmp_path: Path) -> None:
    weights = tmp_path / "yamnet.tflite"
    weights.write_bytes(b"TFL3" * 100)
    with pytest.raises(UserError, match=rf"put {CLASS_MAP} beside it"):
        category_names(weights)
    with zipfile.ZipFile(weights, "a") as metadata:
        metadata.writestr("yamnet_label_list.txt", "Dog\nMeow\n")
    assert category_names(weights) == ("Dog", "Meow")
    (tmp_path / CLASS_MAP).write_text("index,mid,display_name\n0,/m/0,Frog\n")
    assert category_names(weights) == ("Frog",)
    for broken in ("a,b\n1,2\n", "index,mid,display_name\n5,/m/0,Frog\n"):
        (tmp_path / CLASS_MAP).write_text(broken)
        with pytest.raises(UserError, match="is no class map of YAMNet"):
            category_names(weights)
