"""The optimizers' kernels beside torch.optim: fifty steps in float64, and all that depends on their arguments."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (tests/peers/requirements.txt)")

from digests import kernels as native  # noqa: E402
from kinone import kernels  # noqa: E402
from kinone.kernels.optimize import reference  # noqa: E402


@pytest.fixture(autouse=True)
def _scalars_in_float64():
    """In which PyTorch keeps the product of NAdam's μ only if all is."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


IMPLEMENTATIONS = [reference, native] if native is not kernels else [reference]
SHAPES = [(5, 4), (7,), (2, 3, 2, 2)]
STEPS = 50


def sgd(k, p, g, s, t, momentum=0.0, dampening=0.0, nesterov=False, lr=0.05, weight_decay=0.0):
    k.sgd_update(p, g, s[0] if momentum else None, lr, momentum, dampening, weight_decay, nesterov, t == 1, 1.0)


def adam(k, p, g, s, t, lr=0.01, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False, is_decoupled=False):
    largest = s[2] if amsgrad else None
    k.adam_update(p, g, s[0], s[1], largest, t, lr, *betas, eps, weight_decay, is_decoupled, 1.0)


def adamw(k, p, g, s, t, weight_decay=0.01, **options):
    adam(k, p, g, s, t, weight_decay=weight_decay, is_decoupled=True, **options)


def nadam(k, p, g, s, t, lr=0.002, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, momentum_decay=0.004,
          decoupled_weight_decay=False):  # fmt: skip
    mus = [reference.nadam_momentum(i, betas[0], momentum_decay) for i in range(1, t + 2)]
    product = float(np.prod(mus[:-1]))
    k.nadam_update(p, g, s[0], s[1], t, lr, *betas, eps, weight_decay, decoupled_weight_decay, mus[-2], mus[-1],
                   product, 1.0)  # fmt: skip


def rmsprop(k, p, g, s, t, lr=0.01, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False):
    k.rmsprop_update(p, g, s[0], s[1] if centered else None, s[2] if momentum else None, lr, alpha, eps, weight_decay,
                     momentum, 1.0)  # fmt: skip


def adagrad(k, p, g, s, t, lr=0.01, lr_decay=0.0, weight_decay=0.0, eps=1e-10):
    k.adagrad_update(p, g, s[0], t, lr, lr_decay, eps, weight_decay, 1.0)


CASES: list[Any] = [
    ("SGD", sgd, {"lr": 0.05}),
    ("SGD", sgd, {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}),
    ("SGD", sgd, {"lr": 0.05, "momentum": 0.8, "dampening": 0.3}),
    ("SGD", sgd, {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.02}),
    ("Adam", adam, {}),
    ("Adam", adam, {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.05}),
    ("Adam", adam, {"amsgrad": True}),
    ("AdamW", adamw, {}),
    ("AdamW", adamw, {"weight_decay": 0.2, "amsgrad": True}),
    ("NAdam", nadam, {}),
    ("NAdam", nadam, {"lr": 0.02, "weight_decay": 0.1, "momentum_decay": 0.1}),
    ("NAdam", nadam, {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RMSprop", rmsprop, {}),
    ("RMSprop", rmsprop, {"alpha": 0.9, "centered": True, "weight_decay": 0.05}),
    ("RMSprop", rmsprop, {"momentum": 0.9, "eps": 1e-3}),
    ("RMSprop", rmsprop, {"momentum": 0.5, "centered": True, "lr": 0.002}),
    ("Adagrad", adagrad, {}),
    ("Adagrad", adagrad, {"lr": 0.1, "lr_decay": 0.01, "weight_decay": 0.05}),
]


def gradient(p: Any, t: int) -> Any:
    """Of some smooth function of the parameters, with noise that both see."""
    return np.sin(3 * p) + 0.3 * p + np.random.default_rng([t, p.size]).standard_normal(p.shape) * 0.1


@pytest.mark.parametrize("k", IMPLEMENTATIONS, ids=["reference", "native"][: len(IMPLEMENTATIONS)])
@pytest.mark.parametrize(("name", "rule", "options"), CASES)
def test_fifty_steps(name, rule, options, k):
    rng = np.random.default_rng(41)
    params = [rng.standard_normal(shape) for shape in SHAPES]
    theirs = [torch.tensor(p, requires_grad=True) for p in params]
    lr = {"NAdam": 0.002}.get(name, 0.01)
    optimizer = getattr(torch.optim, name)(theirs, **{"lr": lr, **options})
    states = [[np.zeros_like(p) for p in params] for _ in range(3)]
    for t in range(1, STEPS + 1):
        rule(k, params, [gradient(p, t) for p in params], states, t, **options)
        for p in theirs:
            p.grad = torch.tensor(gradient(p.detach().numpy(), t))
        optimizer.step()
    for p, q in zip(params, theirs, strict=True):
        np.testing.assert_allclose(p, q.detach().numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("k", IMPLEMENTATIONS, ids=["reference", "native"][: len(IMPLEMENTATIONS)])
def test_clipping_is_a_factor(k):
    rng = np.random.default_rng(42)
    grads = [rng.standard_normal(shape) for shape in SHAPES]
    theirs = [torch.zeros(g.shape, dtype=torch.float64, requires_grad=True) for g in grads]
    for p, g in zip(theirs, grads, strict=True):
        p.grad = torch.tensor(g)
    norm = torch.nn.utils.clip_grad_norm_(theirs, 0.5).item()
    assert k.global_norm(grads) == pytest.approx(norm, rel=1e-13)
    params = [np.zeros_like(g) for g in grads]
    k.sgd_update(params, grads, None, 1.0, 0.0, 0.0, 0.0, False, False, min(1.0, 0.5 / (k.global_norm(grads) + 1e-6)))
    for p, q in zip(params, theirs, strict=True):
        np.testing.assert_allclose(-p, q.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize("k", IMPLEMENTATIONS, ids=["reference", "native"][: len(IMPLEMENTATIONS)])
def test_moving_averages(k):
    rng = np.random.default_rng(43)
    params = [rng.standard_normal(shape) for shape in SHAPES]
    averages = [p.copy() for p in params]
    theirs = [torch.tensor(p) for p in params]
    for _ in range(STEPS):
        params = [p + rng.standard_normal(p.shape) for p in params]
        k.ema_update(averages, params, 0.9)
        torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)(theirs, [torch.tensor(p) for p in params], None)
    for a, b in zip(averages, theirs, strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-12)


@pytest.mark.parametrize("k", IMPLEMENTATIONS, ids=["reference", "native"][: len(IMPLEMENTATIONS)])
def test_lion_as_its_paper_has_it(k):
    """Chen et al. 2023, algorithm 2; PyTorch has none."""
    rng = np.random.default_rng(44)
    p, m = rng.standard_normal(20), np.zeros(20)
    ours, states = [p.copy()], [m.copy()]
    for t in range(STEPS):
        g = gradient(p, t)
        p = p - 0.01 * (np.sign(0.9 * m + 0.1 * g) + 0.1 * p)
        m = 0.99 * m + 0.01 * g
        k.lion_update(ours, [gradient(ours[0], t)], states, 0.01, 0.9, 0.99, 0.1, 1.0)
    np.testing.assert_allclose(ours[0], p, rtol=1e-12)
