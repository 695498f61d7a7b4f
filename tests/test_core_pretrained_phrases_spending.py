"""What phrases cost: told by the answers, or taken at its worst."""

import pytest

from core.errors import UserError
from core.pretrained.phrases.config import Manners
from core.pretrained.phrases.endpoint import Key
from core.pretrained.phrases.spending import Spending, worst_case

PRICED = Manners(price_in=1.0, max_cost=0.01)


def test_a_picture_counts_as_much_as_any_model_bills_for_it():
    without, shown = (worst_case("?", picture=p, max_tokens=8)[0] for p in (False, True))
    assert shown - without == 9000


def test_an_untold_request_counts_no_less_than_the_largest_that_was_told(tmp_path):
    spending = Spending(tmp_path / "spent.json", PRICED)
    spending.add({"prompt_tokens": 4000, "completion_tokens": 5}, (100, 8))
    spending.add({"prompt_tokens": 300, "completion_tokens": 5}, (100, 8))
    spending.add(None, (100, 8))
    assert (spending.tokens_in, spending.tokens_out) == (8300, 18)
    with pytest.raises(UserError, match=r"one more request may cost 0\.0040"):
        spending.require((100, 8))


def test_a_name_that_may_be_a_key_is_not_said(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert Key("OPENAI_API_KEY").variable == "OPENAI_API_KEY"
    assert "hf_abcDEF" not in f"{Key('hf_abcDEF').variable} {Key('hf_abcDEF')!r}"
    monkeypatch.setenv("my_key", "1234567")
    assert Key("my_key").variable == "my_key"
