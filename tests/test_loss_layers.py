"""Losses as layers: where everything is ignored, far values, weights, and how they are reduced."""

from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import nn
from kinone.errors import ArgumentError
from layer_reloading import draw, reloaded

IGNORED = np.full((3,), -100)
LOGITS = draw(3, 4)


@pytest.mark.parametrize("make", [nn.CrossEntropyLoss, nn.NLLLoss])
@pytest.mark.parametrize("attrs", [{}, {"weight": [1.0, 2.0, 3.0, 4.0]}])
def test_where_everything_is_ignored_there_is_an_answer_and_no_nan(make: Any, attrs: dict[str, Any]):
    with pytest.raises(ArgumentError, match=r"at least one loss to take the mean of, got none. Hint: reduction='sum'"):
        make(**attrs)(LOGITS, IGNORED)
    x = kn.Tensor(LOGITS, requires_grad=True)
    total = make(**attrs, reduction="sum")(x, IGNORED)
    total.backward()
    assert total.item() == 0 and not x.grad.data.any()
    assert make(**attrs, reduction="none")(LOGITS, IGNORED).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("loss", "target"),
    [(nn.BCEWithLogits(), np.array([0.0, 1.0, 1.0, 0.0])), (nn.FocalLoss(), np.array([0, 1, 1, 0])),
     (nn.CrossEntropyLoss(), np.array(1)), (nn.HuberLoss(), np.zeros(4)), (nn.HingeLoss(), np.array([-1, -1, 1, -1]))],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_far_values_cost_much_but_stay_finite(loss: nn.Module, target: Any):
    x = kn.Tensor(np.array([1e4, -1e4, 3e4, -3e4]), requires_grad=True)
    y = loss(x, target)
    y.backward()
    assert 0 < y.item() < 1e9 and np.isfinite(x.grad.data).all()


def test_probabilities_of_0_and_1():
    x = kn.Tensor(np.array([0.0, 1.0, 0.0, 1.0]), requires_grad=True)
    y = nn.BCELoss(reduction="none")(x, np.array([0.0, 1.0, 1.0, 0.0]))
    y.sum().backward()
    assert y.tolist() == [0, 0, 100, 100] and np.isfinite(x.grad.data).all()
    nothing = np.array([[-np.inf, 0.0]])
    assert nn.NLLLoss()(nothing, np.array([0])) == np.inf and nn.NLLLoss()(nothing, np.array([1])) == 0
    assert nn.KLDivLoss("sum")(np.log([[0.5, 0.5]]), np.array([[0.0, 1.0]])) == pytest.approx(np.log(2))
    short = np.log(np.full((1, 1, 2), 0.5)), np.array([[1, 1]]), np.array([1]), np.array([2])
    assert nn.CTCLoss()(*short) == np.inf and nn.CTCLoss(zero_infinity=True)(*short) == 0


def test_weights_are_state_and_follow_the_dtype():
    loss = nn.CrossEntropyLoss(weight=np.array([0.1, 0.2, 0.3, 0.4], np.float32), ignore_index=2)
    assert list(loss.state_dict()) == ["weight"] and not list(loss.parameters())
    twin = reloaded(loss)
    np.testing.assert_array_equal(twin.weight.data, loss.weight.data)
    assert twin.ignore_index == 2 and twin.weight.dtype == np.float32
    for dtype in (np.float32, np.float64):
        assert loss(LOGITS.astype(dtype), np.array([0, 1, 3])).dtype == dtype
    other = nn.CrossEntropyLoss(weight=kn.Tensor(np.ones(4, np.float64)))
    assert other(LOGITS, np.array([0, 1, 3])).dtype == np.float32
    assert list(nn.MSELoss().state_dict()) == []


@pytest.mark.parametrize("name", [n for n in nn.MODULES if n.endswith(("Loss", "Logits")) and n != "SSELoss"])
def test_reductions_are_told_apart_in_the_constructor(name: str):
    with pytest.raises(ArgumentError, match=rf"\[{name}\] expected reduction 'mean', .*'sum' or 'none', got 'avg'"):
        nn.MODULES[name](reduction="avg")
    assert nn.MODULES[name](reduction="sum").get_config()["reduction"] == "sum"


def test_names_that_others_use():
    assert nn.MAELoss is nn.L1Loss and nn.BCEWithLogitsLoss is nn.BCEWithLogits and nn.Swish is nn.SiLU
