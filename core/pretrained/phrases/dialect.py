"""What an endpoint does not take of a request, learnt from its refusals."""

import re
from typing import Any

from core.pretrained.phrases.endpoint import Answer

_REFUSED = (400, 422)
_OLD, _NEW = "max_tokens", "max_completion_tokens"
_MAY_GO = ("seed", "top_p", "temperature")
"""A request has a meaning without them, so they may be left out, in this order."""


class Dialect:
    """How one endpoint wants its requests: under another name for the limit, or without some."""

    def __init__(self) -> None:
        self._renamed = False
        self._left_out: set[str] = set()

    def of(self, body: dict[str, Any]) -> dict[str, Any]:
        """A request as the endpoint takes it, as far as is known."""
        sent = {name: value for name, value in body.items() if name not in self._left_out}
        if self._renamed and _OLD in sent:
            sent[_NEW] = sent.pop(_OLD)
        return sent

    def learn(self, answer: Answer, sent: dict[str, Any]) -> str:
        """What changes after an answer to `sent`, in words; empty when nothing does."""
        if answer.status not in _REFUSED:
            return ""
        text = answer.data.decode("utf-8", "replace")
        if _OLD in sent and _names(text, _NEW):
            self._renamed = True
            return f"takes {_NEW} in place of {_OLD}"
        for name in _MAY_GO:
            if name in sent and _names(text, name):
                self._left_out.add(name)
                return f"does not take this {name}, which is left out"
        return ""


def _names(text: str, name: str) -> bool:
    return re.search(rf"\b{name}\b", text) is not None
