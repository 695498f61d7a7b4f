"""Phrases by a chat endpoint: a local server speaks the protocol, well and badly."""

import base64
import email.utils
import io
import json
import logging
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from core.errors import UserError
from core.pretrained.asked import Animal
from core.pretrained.phrases.chat import Chat, phrase_from
from core.pretrained.phrases.config import Manners, PhrasesConfig
from core.pretrained.phrases.endpoint import Key
from core.pretrained.phrases.spending import Spending
from core.pretrained.phrases.work import PhrasesWork, open_phrases
from jobs import phrases
from tests.samplesets import animal as sample_of
from tests.samplesets import write_sample_set

KEY = "sk-verysecret-1234567890"
CAT = Animal(label="cat", seed=7)


def said(phrase, **usage):
    """A right answer."""
    usage = {"prompt_tokens": 100, "completion_tokens": 20, **usage}
    message = {"role": "assistant", "content": json.dumps({"phrase": phrase})}
    return 200, {"choices": [{"message": message}], "usage": usage}


class Server:
    """An endpoint that gives its answers one after another; the last one for ever.

    An answer is (status, JSON or bytes[, headers]), or None: silence until the server is closed.
    """

    def __init__(self):
        self.answers = [said("Mrrao!")]
        self.requests = []
        self.closed = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.requests.append((self.path, dict(self.headers), json.loads(body)))
                number = len(server.requests) - 1
                answer = server.answers[min(number, len(server.answers) - 1)]
                if answer is None:
                    server.closed.wait(60)
                    return
                status, data, headers = (*answer, {})[:3]
                data = data if isinstance(data, bytes) else json.dumps(data).encode()
                self.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.closed.set()
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    made = Server()
    yield made
    made.close()


@pytest.fixture
def ask(server, tmp_path):
    """Ask for the cat's phrase; the pauses that were made are in `ask.pauses`."""

    def ask(who=CAT, **manners):
        config = PhrasesConfig(classes=("cat",), base_url=server.url, model="m", temperature=0.7)
        known = Manners(**{"attempts": 4, **manners})
        spending = Spending(tmp_path / "spent.json", known)
        chat = Chat(
            config, known, cache=tmp_path / "answers", spending=spending, pause=ask.pauses.append
        )
        return chat.ask(who)[0]

    ask.pauses = []
    return ask


def everything_in(folder: Path) -> str:
    return "".join(path.read_text() for path in sorted(folder.rglob("*")) if path.is_file())


def test_a_phrase_is_asked_for_with_model_temperature_and_key_and_kept(server, ask, tmp_path):
    assert ask() == "Mrrao!"
    ((path, headers, body),) = server.requests
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert (body["model"], body["temperature"], body["top_p"]) == ("m", 0.7, 1.0)
    assert "cat" in body["messages"][1]["content"]
    assert ask() == "Mrrao!"  # from the cache
    assert len(server.requests) == 1
    server.answers = [said("Prrt?")]
    assert ask(Animal(label="cat", seed=8)) == "Prrt?"
    assert KEY not in everything_in(tmp_path)


@pytest.mark.parametrize(
    "bad",
    [
        (500, b"oops"),
        (503, {"error": {"message": "busy"}}),
        (200, b"{not json"),
        (200, b"[]"),
        (200, {"choices": []}),
        (200, {"choices": [{"message": {"content": None}}]}),
        (200, {"choices": [{"message": {"content": "Mrrao, no object"}}]}),
        (200, {"choices": [{"message": {"content": '{"phrase": 3}'}}]}),
        (200, {"choices": [{"message": {"content": '{"phrase": "two\\nlines"}'}}]}),
        (200, {"choices": [{"message": {"content": json.dumps({"phrase": f"My key is {KEY}"})}}]}),
        (200, b"x" * 100, {"Content-Length": "5000"}),
        (200, b"x" * (2**20 + 1)),
    ],
    ids=lambda bad: str(bad)[:40].replace(KEY, "KEY"),
)
def test_what_may_pass_is_asked_again(server, ask, tmp_path, bad):
    server.answers = [bad, bad, said("Mrrao!")]
    assert ask() == "Mrrao!"
    assert len(server.requests) == 3
    first, second = ask.pauses
    assert 0.5 <= first <= 1 <= second <= 2
    assert KEY not in everything_in(tmp_path)


def seeds_of(server):
    return [body["seed"] for _, _, body in server.requests]


def test_a_bad_answer_is_not_asked_for_again_with_its_seed(server, ask):
    server.answers = [(200, b"[]"), (503, b""), (200, b"{}"), said("Mrrao!")]
    assert ask() == "Mrrao!"
    first = seeds_of(server)[0]
    assert seeds_of(server) == [first, first + 1, first + 1, first + 2]
    assert ask() == "Mrrao!"  # kept under the first request
    assert len(server.requests) == 4


def test_running_again_goes_on_with_seeds_that_were_not_asked_for(server, ask):
    server.answers = [(200, b"[]")]
    for _ in range(2):
        with pytest.raises(UserError, match="cat_000007 in 2 attempts"):
            ask(attempts=2)
    first = seeds_of(server)[0]
    assert seeds_of(server) == [first, first + 1, first + 2, first + 3]
    server.answers = [said("Mrrao!")]
    assert ask() == "Mrrao!"


def test_a_model_that_uses_up_its_tokens_is_told_of_by_its_flag(server, ask):
    server.answers = [(200, {"choices": [{"message": {"content": ""}, "finish_reason": "length"}]})]
    with pytest.raises(UserError, match=r"used up its 200 tokens.*raise --max-tokens"):
        ask()
    server.answers = [(200, {"choices": [{"message": {}, "finish_reason": "length"}]})]
    with pytest.raises(UserError, match="used up its 200 tokens"):
        ask()


def test_pauses_are_drawn_from_the_seed_and_grow(server, ask):
    server.answers = [(500, b"")]
    with pytest.raises(UserError, match=r"in 4 attempts \(status 500\).*run it again"):
        ask()
    once = ask.pauses.copy()
    assert once == sorted(once)
    with pytest.raises(UserError):
        ask()
    assert ask.pauses == once * 2
    assert len(server.requests) == 8


def test_an_endpoint_that_asks_to_wait_is_given_that_time(server, ask):
    later = email.utils.formatdate(time.time() + 40, usegmt=True)
    server.answers = [
        (429, {}, {"retry-after": "17"}),
        (429, {}, {"Retry-After": later}),
        (429, {}, {"Retry-After": "soon"}),
        said("Mrrao!"),
    ]
    assert ask() == "Mrrao!"
    assert ask.pauses[0] == 17
    assert 35 < ask.pauses[1] <= 41
    assert 2 <= ask.pauses[2] <= 4
    server.answers = [(429, {}, {"Retry-After": "90000"})]
    with pytest.raises(UserError, match="asks to wait 90,000 s"):
        ask(Animal(label="cat", seed=1))


def test_silence_ends_in_time_and_an_absent_server_is_one_line(server, ask):
    server.answers = [None]
    begun = time.monotonic()
    with pytest.raises(UserError, match=r"no answer within 0\.2 s"):
        ask(timeout_s=0.2, attempts=2)
    assert time.monotonic() - begun < 20
    config = PhrasesConfig(classes=("cat",), base_url="http://127.0.0.1:9/v1", model="m")
    manners = Manners(attempts=1)
    spending = Spending(Path("/nonexistent/spent.json"), manners)
    spending.add = lambda *_: None
    chat = Chat(config, manners, cache=Path("/nonexistent"), spending=spending)
    with pytest.raises(UserError, match="ConnectionRefusedError"):
        chat.ask(CAT)


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ((401, {"error": {"message": f"bad key {KEY}"}}), "does not let us in.*OPENAI_API_KEY"),
        ((404, {"error": {"message": "no such model"}}), "refuses .*no such model"),
        ((400, {"error": f"what is {KEY}"}), "refuses"),
        ((429, {"error": {"code": "insufficient_quota", "message": "no money"}}), "no money"),
        ((302, b"", {"Location": "http://127.0.0.1:1/steal"}), "sends us elsewhere"),
    ],
)
def test_what_will_not_pass_is_one_line_at_once_without_the_key(server, ask, answer, complaint):
    server.answers = [answer]
    with pytest.raises(UserError, match=complaint) as caught:
        ask()
    assert len(server.requests) == 1
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None
    assert ask.pauses == []


def test_spending_is_counted_also_for_bad_answers_and_stops_before_the_limit(server, ask, tmp_path):
    server.answers = [
        (200, {"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 50}})
    ]
    server.answers.append(said("Mrrao!"))
    prices = {"price_in": 10.0, "price_out": 100.0}
    assert ask(max_cost=1.0, **prices) == "Mrrao!"
    spent = json.loads((tmp_path / "spent.json").read_text())
    assert (spent["tokens_in"], spent["tokens_out"], spent["requests"]) == (200, 70, 2)
    assert spent["cost"] == pytest.approx((200 * 10 + 70 * 100) / 1e6)
    with pytest.raises(UserError, match=r"0\.0090 of --max-cost 0\.02 are spent.*raise --max-cost"):
        ask(Animal(label="cat", seed=8), max_cost=0.02, **prices)
    assert len(server.requests) == 2  # nothing was sent
    assert ask(max_cost=0.02, **prices) == "Mrrao!"  # what is kept costs nothing


def test_an_answer_that_tells_no_usage_counts_as_the_worst_case(server, ask, tmp_path):
    status, body = said("Mrrao!")
    del body["usage"]
    server.answers = [(status, body)]
    ask(price_out=1.0)
    assert json.loads((tmp_path / "spent.json").read_text())["tokens_out"] == 200


def test_a_key_shows_itself_nowhere(monkeypatch, caplog, capfd, server, ask):
    caplog.set_level(logging.DEBUG)
    key = Key("OPENAI_API_KEY")
    assert KEY not in f"{key!r} {key} {vars(Manners())}"
    with pytest.raises(TypeError):
        __import__("pickle").dumps(key)
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\nX-Evil: 1")
    with pytest.raises(UserError, match="OPENAI_API_KEY") as caught:
        Key("OPENAI_API_KEY")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.answers = [(500, f"{KEY}".encode()), (401, {"error": {"message": KEY}})]
    with pytest.raises(UserError) as other:
        ask()
    seen = capfd.readouterr()
    assert KEY not in f"{caught.value} {other.value} {caplog.text} {seen.out} {seen.err}"


def test_a_key_is_not_sent_unencrypted_nor_saved_in_an_address(monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    config = PhrasesConfig(classes=("cat",), base_url="http://models.example/v1", model="m")
    with pytest.raises(UserError, match="unencrypted"):
        PhrasesWork(config, tmp_path / "out", Manners()).make()
    with pytest.raises(UserError, match="plain address"):
        PhrasesConfig(classes=("cat",), base_url=f"https://me:{KEY}@host/v1", model="m")
    with pytest.raises(UserError, match="no http"):
        PhrasesConfig(classes=("cat",), base_url="file:///etc/passwd", model="m")


def test_without_a_key_none_is_sent(server, ask, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    assert ask() == "Mrrao!"
    assert "Authorization" not in server.requests[0][1]


def test_the_picture_goes_along_and_a_run_that_broke_off_goes_on(server, tmp_path):
    samples = tmp_path / "samples"
    write_sample_set(samples, [[sample_of("cat", 3), sample_of("dog", 4)]])
    config = PhrasesConfig(samples=samples, base_url=server.url, model="m", show_picture=True)
    server.answers = [said("Mrrao!"), (400, {})]
    with pytest.raises(UserError, match="status 400"):
        PhrasesWork(config, tmp_path / "out", Manners()).make()
    assert not (tmp_path / "out" / "phrases.json").exists()
    server.answers = [said("Wuuf!")]
    PhrasesWork(config, tmp_path / "out", Manners()).make()
    assert open_phrases(tmp_path / "out") == {("cat", 3): "Mrrao!", ("dog", 4): "Wuuf!"}
    assert len(server.requests) == 3
    url = server.requests[0][2]["messages"][1]["content"][1]["image_url"]["url"]
    kind, data = url.split(",")
    assert kind == "data:image/png;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (32, 32)
    assert KEY not in everything_in(tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "phrase"),
    [
        ('{"phrase": " Mrrao! "}', "Mrrao!"),
        ('```json\n{"phrase": "Mrrao!"}\n```', "Mrrao!"),
        ('{"phrase": "' + "x" * 201 + '"}', ""),
        ('{"phrase": ""}', ""),
        ('{"phrase": "a\\u0007b"}', ""),
        ("[" * 100_000, ""),
        ('{"words": "Mrrao!"}', ""),
    ],
)
def test_a_phrase_is_found_in_a_message(content, phrase):
    assert phrase_from(content) == phrase


def test_the_command_shows_no_key_keeps_what_it_paid_for_and_goes_on(server, tmp_path, capfd):
    out = tmp_path / "out"
    flags = ["--classes", "cat", "dog", "--per-class", "2", "--out", str(out), "--model", "m"]
    flags += ["--base-url", server.url, "--price-out", "1000", "--attempts", "1"]
    server.answers = [said("Mrrao!"), (401, {"error": {"message": f"not {KEY}"}})]
    assert phrases.main(flags) == 2
    assert len(list((out / "answers").iterdir())) == 1
    assert not (out / "phrases.json").exists()
    server.answers = [said("Wuuf!")]
    assert phrases.main([*flags, "--max-cost", "0.25"]) == 2  # 0.02 each, 0.2 at worst
    assert phrases.main(flags) == 0
    assert list(open_phrases(out).values()) == ["Mrrao!", "Wuuf!", "Wuuf!", "Wuuf!"]
    assert len(server.requests) == 5
    seen = capfd.readouterr()
    complaints = [line for line in seen.err.splitlines() if "error:" in line]
    assert len(complaints) == 2
    assert "does not let us in (status 401: not [key])" in complaints[0]
    assert "of --max-cost 0.25 are spent" in complaints[1]
    assert "spent so far: 0.0800 in 4 requests" in seen.out
    assert KEY not in seen.out + seen.err + everything_in(out)
