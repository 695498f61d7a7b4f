"""What endpoints refuse of a request, pictures that are sent, and animals that get no phrase."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from core.errors import UserError
from core.pretrained.asked import Animal
from core.pretrained.phrases.chat import Chat
from core.pretrained.phrases.config import Manners, PhrasesConfig
from core.pretrained.phrases.spending import Spending
from core.pretrained.phrases.work import PhrasesWork, open_phrases
from tests.test_core_pretrained_phrases_chat import CAT, Server, said

OPENAI = (400, {"error": {"message": "'max_tokens' is not supported, use 'max_completion_tokens'"}})
TEMPERATURE = (400, {"error": {"message": "'temperature' does not support 1.0 with this model"}})
MISTRAL = (422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "input": 7}]})


@pytest.fixture
def server(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    made = Server()
    yield made
    made.close()


@pytest.fixture
def chat_of(server, tmp_path):
    """A chat that makes one attempt, of a config's other values."""

    def chat_of(**values):
        values = {"classes": ("cat",), **values}
        config = PhrasesConfig(base_url=server.url, model="m", **values)
        manners = Manners(attempts=1)
        spending = Spending(tmp_path / "spent.json", manners)
        return Chat(config, manners, cache=tmp_path / "answers", spending=spending)

    return chat_of


@pytest.mark.parametrize(
    ("refusals", "gone"),
    [
        ([OPENAI], {"max_tokens"}),
        ([MISTRAL], {"seed"}),
        ([OPENAI, TEMPERATURE, MISTRAL], {"max_tokens", "temperature", "seed"}),
        ([(400, {"error": "temperature and top_p cannot both be given"})], {"top_p"}),
    ],
)
def test_what_an_endpoint_does_not_take_is_left_out_for_good(server, chat_of, refusals, gone):
    server.answers = [*refusals, said("Mrrao!")]
    chat = chat_of()
    assert chat.ask(CAT)[0] == "Mrrao!"
    chat.ask(Animal(label="cat", seed=8))
    bodies = [body for _, _, body in server.requests]
    assert len(bodies) == len(refusals) + 2
    assert set(bodies[0]) - set(bodies[-1]) == set(bodies[0]) - set(bodies[-2]) == gone
    assert ("max_completion_tokens" in bodies[-1]) == ("max_tokens" in gone)
    assert chat_of().ask(CAT)[0] == "Mrrao!"  # the kept answer is the first request's
    assert len(server.requests) == len(bodies)


def test_a_refusal_that_stays_ends_it(server, chat_of):
    server.answers = [OPENAI]
    with pytest.raises(UserError, match="refuses"):
        chat_of().ask(CAT)
    assert len(server.requests) == 2


def test_a_large_picture_is_sent_small_and_in_low_detail(server, chat_of, tmp_path):
    picture = np.zeros((700, 1400, 4), np.uint8)
    picture[:, :700] = (200, 100, 50, 255)  # clear on the right: no dark edge may come of it
    chat_of(classes=(), samples=tmp_path, show_picture=True).ask(CAT, picture)
    shown = server.requests[0][2]["messages"][1]["content"][1]["image_url"]
    assert shown["detail"] == "low"
    sent = np.array(Image.open(io.BytesIO(base64.b64decode(shown["url"].split(",")[1]))))
    assert sent.shape == (256, 512, 4)
    assert np.abs(sent[sent[..., 3] > 0][:, :3].astype(int) - (200, 100, 50)).max() <= 2


def classes_work(server, out, *classes):
    config = PhrasesConfig(classes=classes, per_class=1, base_url=server.url, model="m")
    return PhrasesWork(config, out, Manners(attempts=1))


def test_an_animal_without_a_phrase_does_not_keep_others_from_theirs(server, tmp_path):
    server.answers = [(200, b"[]"), said("Wuuf!"), (200, b"{}"), said("Blub!")]
    names = ("cat", "dog", "cow", "fish")
    with pytest.raises(UserError, match=r"no phrase for 2 animals: cat_000000, cow_000000\. The"):
        classes_work(server, tmp_path, *names).make()
    assert len(server.requests) == 4
    server.answers = [said("Mrrao!")]
    classes_work(server, tmp_path, *names).make()
    assert list(open_phrases(tmp_path).values()) == ["Mrrao!", "Wuuf!", "Mrrao!", "Blub!"]
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    ("answers", "requests"),
    [([(200, b"[]"), (401, b"")], 2), ([(200, b"[]"), (500, b"")], 2), ([(200, b"[]")], 5)],
)
def test_what_others_would_meet_too_ends_at_once(server, tmp_path, answers, requests):
    server.answers = answers
    with pytest.raises(UserError, match=r"does not let|status 500|stopped after 5 in a row"):
        classes_work(server, tmp_path, *"abcdefgh").make()
    assert len(server.requests) == requests
