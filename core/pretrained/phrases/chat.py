"""Phrases from a chat endpoint: ask, wait, ask again, count the cost, and remember the answers."""

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from core.data.transform import shrink
from core.errors import UserError
from core.files import canonical_json, digest_of, read_json, write_json
from core.images import Picture, png_bytes
from core.pretrained.asked import Animal
from core.pretrained.phrases.config import MOST_TOKENS, Manners, PhrasesConfig
from core.pretrained.phrases.dialect import Dialect
from core.pretrained.phrases.endpoint import Answer, Key, UnreachableError, post
from core.pretrained.phrases.phonology import number_of
from core.pretrained.phrases.speech import speak
from core.pretrained.phrases.spending import Spending, worst_case
from core.seeds import mixed_seed

_RULES = 'Answer with a JSON object alone: {"phrase": "…"}, one line of at most 160 characters.'
_LONGEST = 200
_TRANSIENT = (408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_PATIENCE_S = 300.0
"""Longest wait that an endpoint may ask for."""
_SEEDS = 2**31
"""A request's seed is below it."""
_SIDE_PX = 512
"""Longest side of a picture that is sent: models that see look at no more of it in low detail."""


class NoPhraseError(UserError):
    """The endpoint answers, but without a phrase for one animal; for others it may have one."""


class Chat:
    """An endpoint that is asked for phrases. UserError when it cannot give one."""

    def __init__(
        self,
        config: PhrasesConfig,
        manners: Manners,
        *,
        cache: Path,
        spending: Spending,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._config = config
        self._manners = manners
        self._cache = cache
        self._spending = spending
        self._pause = pause
        self._key = Key(manners.key_env)
        self._key.headers(config.base_url)  # refused here, before anything is begun
        self._url = config.base_url.rstrip("/") + "/chat/completions"
        self._dialect = Dialect()

    def ask(self, animal: Animal, picture: Picture | None = None) -> tuple[str, str]:
        """An animal's phrase and the digest of its request, which names the kept answer.

        NoPhraseError when the answers hold none; UserError for what other animals would meet too.
        """
        body = self._body(animal, picture)
        digest = digest_of({"base_url": self._config.base_url, "request": body})
        kept = self._cache / f"{digest}.json"
        known = read_json(kept) if kept.exists() else {}
        if isinstance(phrase := known.get("phrase"), str):
            return phrase, digest
        phrase = self._insist(animal, body, kept, int(known.get("bad_answers", 0)))
        write_json(kept, {"phrase": phrase, "model": self._config.model})
        return phrase, digest

    def _body(self, animal: Animal, picture: Picture | None) -> dict[str, Any]:
        config = self._config
        text = config.prompt.replace("{label}", animal.label)
        text = text.replace("{example}", speak(animal.label, animal.seed))
        content: Any = text
        if picture is not None:
            data = base64.b64encode(png_bytes(_small(picture))).decode()
            shown = {"url": f"data:image/png;base64,{data}", "detail": "low"}
            content = [{"type": "text", "text": text}, {"type": "image_url", "image_url": shown}]
        return {
            "model": config.model,
            "messages": [
                {"role": "system", "content": _RULES},
                {"role": "user", "content": content},
            ],
            "temperature": config.temperature,
            "top_p": config.top_p,
            "max_tokens": config.max_tokens,
            "seed": mixed_seed(number_of(animal.label), animal.seed) % _SEEDS,
        }

    def _insist(self, animal: Animal, body: dict[str, Any], kept: Path, bad: int) -> str:
        """Ask until there is a phrase, no hope, no attempt or no money left.

        `bad` answers held none so far. Each shifts the seed, as the same request may get the same
        answer for ever; they are counted in `kept`, so that running again does not repeat them.
        """
        text = self._config.prompt + _RULES + speak(animal.label, animal.seed)
        worst = worst_case(
            text, picture=self._config.show_picture, max_tokens=self._config.max_tokens
        )
        trouble, error_type = "", UserError
        for attempt in range(self._manners.attempts):
            self._spending.require(worst)
            asked_s, error_type = 0.0, UserError
            try:
                answer = self._post({**body, "seed": (body["seed"] + bad) % _SEEDS})
            except UnreachableError as error:
                trouble = self._key.hidden_in(str(error))
                self._spending.add(None, worst)  # perhaps it was answered, and billed
            else:
                if answer.status == 200:
                    phrase, trouble = self._phrase_in(answer, worst)
                    if phrase:
                        return phrase
                    error_type = NoPhraseError
                    bad += 1
                    write_json(kept, {"bad_answers": bad})
                else:
                    trouble = self._refusal(answer)
                    asked_s = answer.retry_after_s()
            if attempt + 1 < self._manners.attempts:
                self._wait(animal, attempt, asked_s, trouble)
        raise error_type(
            f"{self._url} gave no phrase for {animal.name} in {self._manners.attempts} attempts "
            f"({trouble}); what came so far is kept: run it again to go on"
        )

    def _post(self, body: dict[str, Any]) -> Answer:
        """The answer to a request, which is sent again where a refusal says what to change."""
        while True:
            sent = self._dialect.of(body)
            data = canonical_json(sent).encode()
            answer = post(self._url, data, self._key, timeout_s=self._manners.timeout_s)
            learnt = self._dialect.learn(answer, sent)
            if not learnt:
                return answer
            print(f"{self._url} {learnt}")

    def _phrase_in(self, answer: Answer, worst: tuple[int, int]) -> tuple[str, str]:
        """The phrase, or an empty one and what is wrong with the answer; either way it is paid."""
        try:
            value = json.loads(answer.data)
        except (ValueError, RecursionError):
            value = None
        self._spending.add(value.get("usage") if isinstance(value, dict) else None, worst)
        if not isinstance(value, dict):
            return "", "the answer is no JSON object"
        try:
            choice = value["choices"][0]
            content = choice["message"].get("content")
        except (KeyError, IndexError, TypeError, AttributeError):
            return "", "the answer has no choices with a message"
        phrase = phrase_from(content) if isinstance(content, str) else ""
        if phrase and self._key.hidden_in(phrase) == phrase:
            return phrase, ""
        if choice.get("finish_reason") == "length":
            return "", (
                f"the model used up its {self._config.max_tokens} tokens before a phrase was "
                f"whole: raise --max-tokens, to {MOST_TOKENS} at most, and name another --out"
            )
        return "", 'the message is not {"phrase": "…"} with one line of text'

    def _refusal(self, answer: Answer) -> str:
        """What a refusal says; UserError when asking again would not help."""
        said = self._key.hidden_in(_message(answer.data))
        told = f"status {answer.status}" + (f": {said}" if said else "")
        if answer.status in (401, 403):
            raise UserError(
                f"{self._url} does not let us in ({told}): set the key in the environment variable "
                f"{self._key.variable}"
            )
        if 300 <= answer.status < 400:
            raise UserError(f"{self._url} sends us elsewhere ({told}): give --base-url its new one")
        if answer.status not in _TRANSIENT or "insufficient_quota" in answer.data.decode(
            "utf-8", "replace"
        ):
            raise UserError(
                f"{self._url} refuses ({told}): look at --base-url, --model and what is asked"
            )
        return told

    def _wait(self, animal: Animal, attempt: int, asked_s: float, trouble: str) -> None:
        """Exponential backoff with seeded jitter, and no less than the endpoint asks for."""
        if asked_s > _PATIENCE_S:
            raise UserError(
                f"{self._url} asks to wait {asked_s:,.0f} s ({trouble}): run it again after that"
            )
        seed = mixed_seed(number_of(animal.label), animal.seed, attempt)
        jitter = np.random.default_rng(seed).uniform(0.5, 1.0)
        backoff_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**attempt) * float(jitter)
        self._pause(max(backoff_s, asked_s))


def phrase_from(content: str) -> str:
    """The phrase in a message, from a JSON object with or without a fence; empty if there is none.

    One line of 1 to 200 printable characters is a phrase.
    """
    begin, end = content.find("{"), content.rfind("}")
    try:
        value = json.loads(content[begin : end + 1])
    except (ValueError, RecursionError):
        return ""
    phrase = value.get("phrase") if isinstance(value, dict) else None
    if not isinstance(phrase, str):
        return ""
    phrase = phrase.strip()
    return phrase if phrase.isprintable() and len(phrase) <= _LONGEST else ""


def _small(picture: Picture) -> Picture:
    """A picture (straight alpha) with no side longer than 512 px; a smaller one as it is."""
    height, width = picture.shape[:2]
    if max(height, width) <= _SIDE_PX:
        return picture
    scale = _SIDE_PX / max(height, width)
    size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    return shrink(picture, size_wh, straight=True)


def _message(data: bytes) -> str:
    """An error's own words, short and in one line."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return ""
    error = value.get("error") if isinstance(value, dict) else None
    said = error.get("message") if isinstance(error, dict) else error
    return " ".join(str(said).split())[:200] if said else ""
