import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from t2a.nn.condition import Condition, Name, check_known, drawn, joined, pooled, projected


def a_condition(*lengths: int, width: int = 4) -> Condition:
    mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    return Condition(torch.randn(len(lengths), max(lengths), width), mask)


def test_rows_without_a_condition_hold_the_null_as_often_as_asked():
    given, projection, null = a_condition(2, 0, 3), nn.Linear(4, 5), torch.randn(5)
    tokens, mask = projected(given, projection, null, 3, torch.tensor([False, False, True]), length=4)
    assert mask.tolist() == [[True, True, False, False], [True] * 4, [True] * 4]
    torch.testing.assert_close(tokens[0, :2], projection(given.tokens[0, :2]))
    assert torch.equal(tokens[1:], null.expand(2, 4, -1))
    missing = projected(None, projection, null, 2, None)
    assert torch.equal(missing.tokens, null.expand(2, 1, -1))
    assert missing.mask.all()


def test_conditions_are_put_end_to_end_with_their_masks():
    first, second = a_condition(2, 1), a_condition(1, 3)
    tokens, mask = joined([first, second])
    assert torch.equal(tokens[mask], torch.cat([c.tokens[i][c.mask[i]] for i in (0, 1) for c in (first, second)]))
    assert joined([]) is None


def test_the_mean_leaves_padding_out():
    given = a_condition(2, 3)
    expected = [tokens[mask].mean(0) for tokens, mask in zip(*given, strict=True)]
    torch.testing.assert_close(pooled(given), torch.stack(expected))


def test_rows_are_drawn_with_the_share_of_each_condition():
    torch.manual_seed(0)
    rows = drawn({"text": 0.25, "sound": 0.75, "image": 0.0}, 2000, torch.device("cpu"))
    assert list(rows) == ["text", "sound"]
    assert rows["text"].float().mean() == pytest.approx(0.25, abs=0.05)
    assert rows["sound"].float().mean() == pytest.approx(0.75, abs=0.05)


def test_names_that_torch_uses_and_unknown_ones_are_refused():
    with pytest.raises(ValidationError, match="called train, torch uses that name"):
        TypeAdapter(Name).validate_python("train")
    with pytest.raises(ValueError, match=r"no condition \['sound'\], only \['text'\]"):
        check_known({"text": 1, "sound": 2}, {"text": 3})
