"""What phrases depend on. Free of torch and of the network, so that `--help` is quick."""

import dataclasses
import ipaddress
import re
from pathlib import Path
from urllib.parse import urlsplit

from core.errors import UserError
from core.pretrained.asked import check_labels

MOST_TOKENS = 4000
"""Largest --max-tokens."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhrasesConfig:
    """All that a set of phrases depends on."""

    samples: Path | None = None
    """Folder of a finished sample set: one phrase for each of its pictures, by class and seed."""
    classes: tuple[str, ...] = ()
    """Classes to make phrases for, instead of a sample set; any name has a tongue."""
    per_class: int = 4
    """Phrases of each of --classes."""
    first_seed: int = 0
    """Seed of each class's first phrase."""
    base_url: str = ""
    """An OpenAI-compatible endpoint, such as https://api.openai.com/v1 or http://localhost:8000/v1.
    Empty: the embedded generator, which needs no network."""
    model: str = ""
    """The endpoint's model."""
    temperature: float = 1.0
    """How freely the model chooses, 0…2."""
    top_p: float = 1.0
    """Share of the likeliest tokens that the model chooses from, above 0 up to 1."""
    max_tokens: int = 200
    """Longest answer that is paid for."""
    show_picture: bool = False
    """Send each picture of --samples along, to models that see."""
    prompt: str = (
        "You hear one {label}. Invent what it says, in its own tongue, which is none that people "
        "speak: 2 to 12 words, playful to read aloud. A kinsman of it once said: {example}"
    )
    """What is asked; {label} is the class, {example} a phrase by the embedded generator."""

    def __post_init__(self) -> None:
        if (self.samples is None) == (not self.classes):
            raise UserError("give either --samples SAMPLE_SET or --classes NAME…")
        check_labels(self.classes)
        _require("per-class", self.per_class, 1, 100_000)
        _require("first-seed", self.first_seed, 0, 2**53)
        _require("temperature", self.temperature, 0, 2)
        _require("top-p", self.top_p, 0.001, 1)
        _require("max-tokens", self.max_tokens, 8, MOST_TOKENS)
        if self.show_picture and self.samples is None:
            raise UserError("--show-picture sends pictures of a sample set: give --samples")
        if bool(self.base_url) != bool(self.model):
            raise UserError("--base-url and --model go together: give both, or neither")
        if self.show_picture and not self.base_url:
            raise UserError("--show-picture is for an endpoint: give --base-url and --model")
        if self.base_url:
            _check_address(self.base_url)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manners:
    """How an endpoint is used; the phrases do not depend on it."""

    key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the key; none is sent when it is not set."""
    timeout_s: float = 60.0
    """Longest wait for one answer."""
    attempts: int = 6
    """Requests for one phrase before giving up."""
    max_cost: float = 0.0
    """Most that this folder's phrases may cost, in the currency of the prices; 0 = no limit."""
    price_in: float = 0.0
    """Price of a million tokens sent."""
    price_out: float = 0.0
    """Price of a million tokens received."""
    cache: Path | None = None
    """Folder of answers, found again by what was asked; default: answers/ beside the phrases."""

    def __post_init__(self) -> None:
        if self.key_env and not _VARIABLE.fullmatch(self.key_env):
            # It may be the key itself, so it is not repeated.
            raise UserError(
                "--key-env is no environment variable's name, which is up to 64 letters, digits "
                "and _: set the key in a variable, and give the name of that"
            )
        _require("timeout-s", self.timeout_s, 0.05, 3600)
        _require("attempts", self.attempts, 1, 20)
        for name in ("max_cost", "price_in", "price_out"):
            _require(name.replace("_", "-"), getattr(self, name), 0, 1e6)
        if self.max_cost and not self.price_in + self.price_out:
            raise UserError("--max-cost needs prices: give --price-in and --price-out per million")


def is_loopback(base_url: str) -> bool:
    """Whether an address is this machine's own."""
    host = urlsplit(base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_address(base_url: str) -> None:
    """UserError unless it is a plain http(s) address; it is saved, so it must hold no secret."""
    try:
        parts = urlsplit(base_url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known or any(letter.isspace() for letter in base_url):
        raise UserError("--base-url is no http(s) address; one looks like https://HOST/v1")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise UserError(
            "--base-url holds a user, password, ? or #, and would be saved with them: give the "
            "plain address, and the key in the environment variable that --key-env names"
        )


def _require(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UserError(f"--{name} is {value:g}; it must be from {low:g} to {high:g}")
