"""What phrases have cost, kept beside them, and the limit that it may not pass."""

from pathlib import Path
from typing import Any

from core.errors import UserError
from core.files import read_json, write_json
from core.pretrained.phrases.config import Manners

_NAMES = ("prompt_tokens", "completion_tokens")
_PER_MILLION = 1e-6
_PICTURE_TOKENS = 9000
"""What a picture of 512 px is billed as at most: 2,833 + 5,667 by gpt-4o-mini in high detail, where
an endpoint does not know of low detail."""


class Spending:
    """Tokens and their price, counted in a file, so that running again goes on counting."""

    def __init__(self, path: Path, manners: Manners) -> None:
        self._path = path
        self._manners = manners
        known = read_json(path) if path.exists() else {}
        self.tokens_in = int(known.get("tokens_in", 0))
        self.tokens_out = int(known.get("tokens_out", 0))
        self.requests = int(known.get("requests", 0))
        self.cost = float(known.get("cost", 0.0))
        self._largest_in = 0
        """Most tokens in that an answer of this run told of."""

    def require(self, worst: tuple[int, int]) -> None:
        """UserError when a request of this many tokens in and out could pass the limit."""
        limit, ahead = self._manners.max_cost, self._price(*self._at_worst(worst))
        if limit and self.cost + ahead > limit:
            raise UserError(
                f"{self.cost:.4f} of --max-cost {limit:g} are spent, and one more request may cost "
                f"{ahead:.4f}: raise --max-cost and run it again to go on"
            )

    def add(self, usage: Any, worst: tuple[int, int]) -> None:
        """Count one request by the answer's `usage`; by the worst case where it tells none."""
        tokens_in, tokens_out = (
            self._told(usage, name, most)
            for name, most in zip(_NAMES, self._at_worst(worst), strict=True)
        )
        self._largest_in = max(self._largest_in, self._told(usage, _NAMES[0], 0))
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out
        self.requests += 1
        self.cost += self._price(tokens_in, tokens_out)
        write_json(
            self._path,
            {
                "tokens_in": self.tokens_in,
                "tokens_out": self.tokens_out,
                "requests": self.requests,
                "cost": self.cost,
            },
        )

    def _at_worst(self, worst: tuple[int, int]) -> tuple[int, int]:
        """The worst case, and no fewer tokens in than a request of this run had."""
        return max(worst[0], self._largest_in), worst[1]

    def _price(self, tokens_in: int, tokens_out: int) -> float:
        price = tokens_in * self._manners.price_in + tokens_out * self._manners.price_out
        return price * _PER_MILLION

    @staticmethod
    def _told(usage: Any, name: str, most: int) -> int:
        value = usage.get(name) if isinstance(usage, dict) else None
        return value if isinstance(value, int) and 0 <= value < 10**9 else most


def worst_case(text: str, *, picture: bool, max_tokens: int) -> tuple[int, int]:
    """Most tokens in and out that a request can be: two bytes of text are at least one token."""
    return len(text.encode()) // 2 + 50 + picture * _PICTURE_TOKENS, max_tokens
