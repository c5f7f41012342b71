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


# ------------------------------------------------------------------------------ schedules
S = torch.optim.lr_scheduler
SCHEDULES: list[Any] = [
    ("StepLR", {"step_size": 7, "gamma": 0.7}, 300),
    ("MultiStepLR", {"milestones": [30, 5, 80, 80], "gamma": 0.3}, 200),
    ("ConstantLR", {"factor": 0.4, "total_iters": 9}, 30),
    ("LinearLR", {}, 30),
    ("LinearLR", {"start_factor": 0.2, "end_factor": 0.7, "total_iters": 50}, 100),
    ("ExponentialLR", {"gamma": 0.99}, 1000),
    ("PolynomialLR", {"total_iters": 200, "power": 2.0}, 300),
    ("PolynomialLR", {"total_iters": 150, "power": 0.9}, 300),
    ("CosineAnnealingLR", {"T_max": 100, "eta_min": 0.001}, 100),
    ("CosineAnnealingLR", {"T_max": 37}, 200),
    ("CosineAnnealingWarmRestarts", {"T_0": 10, "eta_min": 0.002}, 200),
    ("CosineAnnealingWarmRestarts", {"T_0": 5, "T_mult": 3}, 500),
    ("LambdaLR", {"lr_lambda": lambda t: 0.95**t}, 200),
    ("LambdaLR", {"lr_lambda": [lambda t: 1 / (1 + t), lambda t: 0.5]}, 50),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 400}, 399),
    ("OneCycleLR", {"max_lr": [0.5, 0.1], "epochs": 7, "steps_per_epoch": 13, "pct_start": 0.45}, 90),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 100, "anneal_strategy": "linear", "three_phase": True}, 99),
    ("OneCycleLR", {"max_lr": 0.3, "total_steps": 50, "base_momentum": 0.7, "max_momentum": [0.9, 0.8],
                    "div_factor": 10.0, "final_div_factor": 100.0}, 49),
]  # fmt: skip


def optimizers(kind: str) -> tuple[Any, Any]:
    """Two groups with rates of their own, here and there."""
    ours, theirs = twins()
    extra = {"momentum": 0.9} if kind == "SGD" else {}
    made = getattr(optim, kind)([{"params": ours[:2], "lr": 0.1}, {"params": ours[2:], "lr": 0.02}], **extra)
    return made, getattr(torch.optim, kind)(
        [{"params": theirs[:2], "lr": 0.1}, {"params": theirs[2:], "lr": 0.02}], **extra
    )


def same_rates(schedule: Any, optimizer: Any, twin: Any, steps: int, *metrics: Any) -> None:
    for t in range(steps + 1):
        for a, b in zip(optimizer.param_groups, twin.optimizer.param_groups, strict=True):
            assert a["lr"] == pytest.approx(b["lr"], rel=1e-11, abs=1e-13), t
            for name in {"momentum", "betas"} & a.keys():
                assert a.get(name) == pytest.approx(b.get(name), rel=1e-12), t
        if t < steps:
            schedule.step(*(m[t] for m in metrics))
            twin.optimizer.step()
            twin.step(*(m[t] for m in metrics))


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize(("name", "options", "steps"), SCHEDULES)
def test_schedules_over_long_runs(name, options, steps, kind):
    optimizer, theirs = optimizers(kind)
    same_rates(getattr(optim, name)(optimizer, **options), optimizer, getattr(S, name)(theirs, **options), steps)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "max", "factor": 0.5, "patience": 2, "threshold": 0.01, "cooldown": 3},
        {"threshold_mode": "abs", "threshold": 0.05, "patience": 1, "min_lr": [0.01, 0.0001]},
        {"mode": "max", "threshold_mode": "abs", "patience": 0, "cooldown": 1, "eps": 1e-3},
    ],
)
def test_plateau(options):
    optimizer, theirs = optimizers("SGD")
    metrics = np.random.default_rng(5).standard_normal(150).cumsum().tolist()
    metrics[17] = float("nan")
    same_rates(
        optim.ReduceLROnPlateau(optimizer, **options), optimizer, S.ReduceLROnPlateau(theirs, **options), 150, metrics
    )


def test_schedules_one_after_another():
    def parts(m: Any, o: Any) -> list[Any]:
        return [m.LinearLR(o, 0.1, total_iters=10), m.CosineAnnealingLR(o, T_max=30), m.StepLR(o, 5, 0.5)]

    optimizer, theirs = optimizers("SGD")
    schedule = optim.SequentialLR(optimizer, parts(optim, optimizer), [10, 40])
    same_rates(schedule, optimizer, S.SequentialLR(theirs, parts(S, theirs), [10, 40]), 90)


def test_warm_up_is_a_line_before_the_schedule():
    optimizer, theirs = optimizers("Adam")
    schedule = optim.WarmUp(optim.CosineAnnealingLR(optimizer, T_max=50), steps=8, start_factor=0.25)
    twin = S.SequentialLR(theirs, [S.LinearLR(theirs, 0.25, total_iters=8), S.CosineAnnealingLR(theirs, 50)], [8])
    same_rates(schedule, optimizer, twin, 58)


# ------------------------------------------------------------------------------ clipping and averages
@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.5, float("inf")])
@pytest.mark.parametrize("max_norm", [0.5, 100.0])
def test_clipping(norm_type, max_norm):
    ours, theirs = twins()
    give_gradients(ours, theirs, 0)
    norm = optim.clip_grad_norm_(ours, max_norm, norm_type)
    assert norm == pytest.approx(torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type).item(), rel=1e-12)
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.grad.data, q.grad.numpy(), rtol=1e-12)
    optim.clip_grad_value_(ours, 0.1)
    torch.nn.utils.clip_grad_value_(theirs, 0.1)
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.grad.data, q.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize("decay", [None, 0.9])
def test_averages_of_weights(decay):
    swa = torch.optim.swa_utils
    model, twin = nn.Linear(3, 2).double(), torch.nn.Linear(3, 2, dtype=torch.float64)
    average = optim.WeightAverage(model, decay)
    theirs = swa.AveragedModel(twin, multi_avg_fn=None if decay is None else swa.get_ema_multi_avg_fn(decay))
    rng = np.random.default_rng(9)
    for _ in range(STEPS):
        for name, parameter in twin.named_parameters():
            value = rng.standard_normal(tuple(parameter.shape))
            parameter.data = torch.tensor(value)
            model.param(name).data[...] = value
        average.update()
        theirs.update_parameters(twin)
    average.copy_to()
    for name, parameter in theirs.module.named_parameters():
        np.testing.assert_allclose(model.param(name).data, parameter.detach().numpy(), rtol=1e-12, atol=1e-14)
