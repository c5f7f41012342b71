"""Schedules: going on from a state, closed forms, pictures, and what they refuse; PyTorch's values stand in peers."""

import json
import math
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from kinone import nn, optim
from kinone.errors import ArgumentError, StateError


def sgd(**options: Any) -> optim.Optimizer:
    return optim.SGD(
        [{"params": [nn.Parameter([1.0])], "lr": 0.4}, {"params": [nn.Parameter([1.0])], "lr": 0.1}],
        momentum=0.9, **options)  # fmt: skip


EVERY: dict[str, Any] = {
    "StepLR": lambda o: optim.StepLR(o, 5),
    "MultiStepLR": lambda o: optim.MultiStepLR(o, [3, 9]),
    "ConstantLR": optim.ConstantLR,
    "LinearLR": optim.LinearLR,
    "ExponentialLR": lambda o: optim.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda o: optim.PolynomialLR(o, 20, 1.5),
    "CosineAnnealingLR": lambda o: optim.CosineAnnealingLR(o, 10),
    "CosineAnnealingWarmRestarts": lambda o: optim.CosineAnnealingWarmRestarts(o, 3, 2),
    "OneCycleLR": lambda o: optim.OneCycleLR(o, 1.0, total_steps=30),
    "LambdaLR": lambda o: optim.LambdaLR(o, lambda t: 0.9**t),
    "WarmUp": lambda o: optim.WarmUp(optim.StepLR(o, 4), steps=5),
    "WarmUp alone": lambda o: optim.WarmUp(o, steps=5),
    "SequentialLR": lambda o: optim.SequentialLR(o, [optim.LinearLR(o), optim.StepLR(o, 4)], [6]),
    "ReduceLROnPlateau": lambda o: optim.ReduceLROnPlateau(o, patience=1, cooldown=1),
}


def go(schedule: Any, first: int, last: int) -> list[Any]:
    seen = []
    for t in range(first, last):
        schedule.step(*([math.sin(t)] if isinstance(schedule, optim.ReduceLROnPlateau) else []))
        seen.append([(group["lr"], group["momentum"]) for group in schedule.optimizer.param_groups])
    return seen


@pytest.mark.parametrize("name", EVERY)
def test_a_loaded_schedule_goes_on_with_the_same_bits(name):
    whole = go(EVERY[name](sgd()), 0, 25)
    first = EVERY[name](sgd())
    go(first, 0, 11)
    state = json.loads(json.dumps(first.state_dict()))
    second = EVERY[name](sgd())
    second.optimizer.load_state_dict(json.loads(json.dumps(first.optimizer.state_dict())))
    second.load_state_dict(state)
    assert second.get_last_lr() == first.get_last_lr() == [lr for lr, _ in whole[10]]
    assert go(second, 11, 25) == whole[11:]
    fresh = EVERY[name](sgd())  # the schedule's state alone gives the rates back too
    fresh.load_state_dict(state)
    assert fresh.get_last_lr() == first.get_last_lr()


@pytest.mark.parametrize("name", [name for name in EVERY if name != "ReduceLROnPlateau"])
def test_the_future_is_known(name):
    schedule = EVERY[name](sgd())
    known = [schedule.at(t) for t in range(26)]
    assert schedule.get_last_lr() == known[0]
    assert [[lr for lr, _ in groups] for groups in go(schedule, 0, 25)] == known[1:]
    svg = ET.fromstring(schedule.plot(steps=20))
    assert len([p for p in svg.iter() if "curve" in p.get("class", "")]) == 4  # two groups: lines and legend


def test_values_by_hand():
    one = optim.SGD([nn.Parameter([1.0])], lr=1.0)
    cosine = optim.CosineAnnealingLR(one, T_max=8, eta_min=0.5)
    assert [cosine.at(t)[0] for t in (0, 4, 8, 16)] == pytest.approx([1.0, 0.75, 0.5, 1.0], abs=1e-15)
    restarts = optim.CosineAnnealingWarmRestarts(one, T_0=2, T_mult=2)
    assert [restarts.at(t)[0] for t in (0, 1, 2, 4, 6, 10)] == pytest.approx([1, 0.5, 1, 0.5, 1, 0.5])
    cycle = optim.OneCycleLR(optim.SGD([nn.Parameter([1.0])], momentum=0.5), 1.0, total_steps=100)
    assert cycle.at(0)[0] == pytest.approx(0.04) and cycle.at(29)[0] == 1.0 and cycle.at(99)[0] == pytest.approx(4e-6)
    assert cycle.optimizer.param_groups[0]["momentum"] == 0.95


def test_a_group_that_comes_later_is_scheduled_too():
    optimizer = sgd()
    schedule = optim.ExponentialLR(optimizer, 0.5)
    schedule.step()
    optimizer.add_param_group({"params": [nn.Parameter([2.0])], "lr": 8.0})
    schedule.step()
    assert schedule.get_last_lr() == [0.1, 0.025, 2.0]


def test_a_one_cycle_ends():
    schedule = optim.OneCycleLR(sgd(), 1.0, total_steps=3)
    for _ in range(3):
        schedule.step()
    with pytest.raises(ArgumentError, match="at most the 3 steps it was made for, got one more"):
        schedule.step()


def test_a_schedule_of_your_own():
    class Halving(optim.Schedule):
        def value(self, step: int, base: float, group: int) -> float:
            return base / 2**step

    schedule = Halving(sgd())
    schedule.step()
    assert schedule.get_last_lr() == [0.2, 0.05]
    assert repr(schedule) == "Halving(at step 1, lr=0.2, 0.05)"


def test_the_picture_is_written(tmp_path):
    text = optim.StepLR(sgd(), 5).plot(tmp_path / "lr.svg", steps=12)
    assert (tmp_path / "lr.svg").read_text(encoding="utf-8") == text
    assert "group 1" in text and "learning rate" in text


STRANGE: list[Any] = [2.5, object()]
BAD: list[Any] = [
    (lambda o: optim.StepLR(o, 0), r"\[StepLR\] expected step_size, a whole number from 1 on, got 0"),
    (lambda o: optim.StepLR(o, STRANGE[0]), "step_size, a whole number"),
    (lambda o: optim.StepLR(o, 2, -1.0), "gamma, a number from 0 on, got -1.0"),
    (lambda o: optim.StepLR(nn.Linear(2, 2), 2), "an optimizer, whose param_groups have rates, got a Linear"),
    (lambda o: optim.LinearLR(o, 1.5), "start_factor, a number from 0 to 1"),
    (lambda o: optim.CosineAnnealingLR(o, True), "T_max, a whole number"),
    (lambda o: optim.LambdaLR(o, [abs]), "one for each of 2 groups, got 1 functions"),
    (lambda o: optim.OneCycleLR(o, 1.0), "total_steps, or epochs and steps_per_epoch, got neither"),
    (lambda o: optim.OneCycleLR(o, [1.0], total_steps=5), "one for each of 2 groups, got 1 of them"),
    (lambda o: optim.OneCycleLR(o, 1.0, total_steps=5, anneal_strategy="cosine"), "'cos' or 'linear', got 'cosine'"),
    (lambda o: optim.OneCycleLR(optim.Adagrad([nn.Parameter([1.0])]), 1.0, 5), "with momentum or betas, got Adagrad"),
    (lambda o: optim.ReduceLROnPlateau(o, mode="least"), "mode 'min' or 'max', got 'least'"),
    (lambda o: optim.ReduceLROnPlateau(o, factor=1.0), "factor below 1"),
    (lambda o: optim.ReduceLROnPlateau(o, min_lr=[0.1]), "min_lr, a number or one for each of 2 groups, got 1"),
    (lambda o: optim.SequentialLR(o, [optim.StepLR(o, 1)], [3]), "a milestone between each .* got 1 for 1 schedules"),
    (lambda o: optim.SequentialLR(o, [optim.StepLR(o, 1)] * 3, [5, 3]), "milestones that grow"),
    (lambda o: optim.SequentialLR(o, [optim.StepLR(o, 1), optim.StepLR(sgd(), 1)], [5]), "of the same optimizer"),
    (lambda o: optim.SequentialLR(o, STRANGE[1:], []), "formulas of the step, got a object"),
    (lambda o: optim.WarmUp(optim.ReduceLROnPlateau(o), 3), "got a ReduceLROnPlateau"),
    (lambda o: optim.WarmUp(o, 0), "steps, a whole number from 1 on"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "match"), BAD)
def test_bad_arguments_are_refused_and_rates_stay(call, match):
    optimizer = sgd()
    with pytest.raises(ArgumentError, match=match):
        call(optimizer)


@pytest.mark.parametrize(
    ("state", "match"),
    [
        ({"last_epoch": 3}, "a state with name, last_epoch, base_lrs, got the keys last_epoch"),
        ([], "got a list"),
        ({"name": "LinearLR", "last_epoch": 3, "base_lrs": [1, 1]}, "the state of a StepLR, got that of a LinearLR"),
        ({"name": "StepLR", "last_epoch": -1, "base_lrs": [1, 1]}, "last_epoch, a whole number from 0 on, got -1"),
        ({"name": "StepLR", "last_epoch": 3, "base_lrs": [1]}, "base_lrs of 2 groups"),
    ],
)
def test_states_that_do_not_fit_are_refused(state, match):
    schedule = optim.StepLR(sgd(), 2)
    with pytest.raises(StateError, match=match):
        schedule.load_state_dict(state)
    assert schedule.last_epoch == 0


def test_a_chart_shows_what_matters():
    """Two panels, a log axis, a mark, a gap for what is not finite, and an explosion that presses nothing flat."""
    from kinone.inspection.chart import Panel, chart
    from kinone.inspection.curve import Series

    x = np.arange(1.0, 41.0)
    y = 1 / x
    y[7] = np.nan
    y[-1] = 1e9
    svg = chart([Panel("loss", "epoch", (Series("a & b", x, y), Series("val", x, 2 / x))),
                 Panel("search", "lr", (Series("loss", 10.0 ** (-x / 8), y),), is_log_x=True, marks=((1e-3, "here"),))],
                "two")  # fmt: skip
    root = ET.fromstring(svg)
    texts = [t.text for t in root.iter() if t.tag.endswith("text")]
    assert {"a & b", "val", "loss", "search", "here", "0.001", "1"} <= set(texts)
    assert "1e9" not in texts and "nan" not in svg
    lines = [p.get("d", "") for p in root.iter() if (p.get("class") or "").startswith("curve")]
    assert any(d.count("M") == 2 for d in lines)  # the gap


def test_a_chart_of_many_points_stays_small():
    from kinone.inspection.chart import Panel, chart
    from kinone.inspection.curve import Series

    x = np.arange(200_000.0)
    y = np.sin(x)
    y[123_456] = 1.7  # is still to be seen
    svg = chart([Panel("loss", "step", (Series("loss", x, y),))], "long")
    assert len(svg) < 60_000
    assert any(t.text == "1.5" for t in ET.fromstring(svg).iter())
