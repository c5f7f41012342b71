"""Optimizers and schedules beside PyTorch's: every combination of options, fifty steps, and long runs of schedules."""

from itertools import product
from typing import Any

import numpy as np
import pytest

from kinone import nn, optim

torch = pytest.importorskip("torch", reason="PyTorch is not installed (tests/peers/requirements.txt)")

STEPS = 50
SHAPES = [(5, 4), (7,), (), (2, 3, 2)]
WAITS = 2  # the parameter that has a gradient in every third step only

OPTIONS: dict[str, dict[str, list[Any]]] = {
    "SGD": {"lr": [0.05], "momentum": [0.0, 0.9], "dampening": [0.0, 0.3], "weight_decay": [0.0, 0.02],
            "nesterov": [False, True], "maximize": [False, True]},
    "RMSProp": {"lr": [0.01], "alpha": [0.99, 0.8], "eps": [1e-3], "weight_decay": [0.0, 0.05], "momentum": [0.0, 0.7],
                "centered": [False, True], "maximize": [False, True]},
    "Adam": {"lr": [0.01], "betas": [(0.7, 0.95)], "eps": [1e-8, 1e-4], "weight_decay": [0.0, 0.05],
             "amsgrad": [False, True], "maximize": [False, True], "decoupled_weight_decay": [False, True]},
    "AdamW": {"lr": [0.01], "betas": [(0.9, 0.999), (0.7, 0.95)], "weight_decay": [0.0, 0.2],
              "amsgrad": [False, True], "maximize": [False, True]},
    "Adagrad": {"lr": [0.05], "lr_decay": [0.0, 0.02], "weight_decay": [0.0, 0.05], "eps": [1e-10, 1e-3],
                "initial_accumulator_value": [0.0, 0.3], "maximize": [False, True]},
    "NAdam": {"lr": [0.01], "betas": [(0.9, 0.999), (0.7, 0.95)], "weight_decay": [0.0, 0.05],
              "momentum_decay": [0.004, 0.1], "decoupled_weight_decay": [False, True], "maximize": [False, True]},
}  # fmt: skip
CASES = [
    (name, dict(zip(table, values, strict=True)))
    for name, table in OPTIONS.items()
    for values in product(*table.values())
]
CASES = [(n, o) for n, o in CASES if not (o.get("nesterov") and (not o["momentum"] or o["dampening"]))]


@pytest.fixture(autouse=True)
def _scalars_in_float64():
    """In which PyTorch keeps the product of NAdam's μ only if all is."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def twins() -> tuple[list[Any], list[Any]]:
    rng = np.random.default_rng(7)
    values = [np.asarray(rng.standard_normal(shape)) for shape in SHAPES]
    return [nn.Parameter(v.copy()) for v in values], [torch.tensor(v, requires_grad=True) for v in values]


NOISE = [
    [np.random.default_rng([t, i]).standard_normal(s) * 0.1 for i, s in enumerate(SHAPES)] for t in range(3 * STEPS)
]


def give_gradients(ours: list[Any], theirs: list[Any], t: int) -> None:
    """Of some smooth function of the parameters, with noise that both see."""
    for i, (p, q) in enumerate(zip(ours, theirs, strict=True)):
        noise = NOISE[t][i]
        p.grad = q.grad = None
        if i != WAITS or t % 3 == 0:
            p.grad = nn.Parameter(np.asarray(np.sin(3 * p.data) + 0.3 * p.data + noise)).detach()
            q.grad = torch.sin(3 * q.detach()) + 0.3 * q.detach() + torch.tensor(noise)


def theirs_of(name: str) -> Any:
    return getattr(torch.optim, {"RMSProp": "RMSprop"}.get(name, name))


@pytest.mark.parametrize("name", OPTIONS)
def test_fifty_steps_with_every_combination_of_options(name):
    for options in [o for n, o in CASES if n == name]:
        ours, theirs = twins()
        optimizer, twin = getattr(optim, name)(ours, **options), theirs_of(name)(theirs, **options)
        for t in range(STEPS):
            give_gradients(ours, theirs, t)
            optimizer.step()
            twin.step()
        for p, q in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=1e-12, atol=1e-12, err_msg=str(options))


@pytest.mark.parametrize("name", OPTIONS)
def test_defaults_are_pytorchs(name):
    ours, theirs = twins()
    defaults = theirs_of(name)(theirs).defaults
    for option, value in getattr(optim, name)(ours).defaults.items():
        assert value == defaults[option], option


def test_groups_with_options_of_their_own_and_one_added_later():
    ours, theirs = twins()
    optimizer = optim.Adam([{"params": ours[:1]}, {"params": ours[1:2], "lr": 0.1, "betas": (0.5, 0.9)}], lr=0.01)
    twin = torch.optim.Adam([{"params": theirs[:1]}, {"params": theirs[1:2], "lr": 0.1, "betas": (0.5, 0.9)}], lr=0.01)
    for t in range(STEPS):
        if t == 20:
            optimizer.add_param_group({"params": ours[2:], "weight_decay": 0.1})
            twin.add_param_group({"params": theirs[2:], "weight_decay": 0.1})
        if t == 30:
            optimizer.param_groups[1]["lr"] = twin.param_groups[1]["lr"] = 0.02
        give_gradients(ours, theirs, t)
        optimizer.step()
        twin.step()
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=1e-12, atol=1e-12)


def test_lion_as_its_paper_has_it():
    """Chen et al. 2023, algorithm 2; PyTorch has none."""
    ours, theirs = twins()
    optimizer = optim.Lion(ours, lr=0.01, betas=(0.8, 0.95), weight_decay=0.1)
    values, momenta = [p.data.copy() for p in ours], [np.zeros(p.shape) for p in ours]
    for t in range(1, STEPS):
        give_gradients(ours, theirs, 3 * t)
        grads = [p.grad.data.copy() for p in ours]
        optimizer.step()
        values = [v - 0.01 * (np.sign(0.8 * m + 0.2 * g) + 0.1 * v)
                  for v, m, g in zip(values, momenta, grads, strict=True)]  # fmt: skip
        momenta = [0.95 * m + 0.05 * g for m, g in zip(momenta, grads, strict=True)]
        for p, v in zip(ours, values, strict=True):
            np.testing.assert_allclose(p.data, v, rtol=1e-12, atol=1e-12)
