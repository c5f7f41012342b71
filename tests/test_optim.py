"""Optimizers: steps by hand, groups, states out and in, and what they refuse."""

import json
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import nn, optim
from kinone.errors import ArgumentError, DtypeError, GraphError, NumericsError, ShapeError, StateError

EVERY: dict[str, Any] = {
    "SGD": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.01, nesterov=True),
    "SGD without momentum": lambda p: optim.SGD(p, lr=0.05),
    "RMSProp": lambda p: optim.RMSProp(p, lr=0.01, momentum=0.5, centered=True),
    "Adam": lambda p: optim.Adam(p, lr=0.01, amsgrad=True),
    "AdamW": lambda p: optim.AdamW(p, lr=0.01),
    "Adagrad": lambda p: optim.Adagrad(p, lr=0.05, lr_decay=0.01),
    "NAdam": lambda p: optim.NAdam(p, lr=0.01),
    "Lion": lambda p: optim.Lion(p, lr=0.001, weight_decay=0.1),
}


class Net(nn.Module):
    def __init__(self) -> None:
        self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        return self.b(kn.tanh(self.a(x)))


def net() -> Net:
    kn.random.seed(3)
    return Net()


def train(model: Any, optimizer: Any, first: int, last: int) -> None:
    for t in range(first, last):
        x = np.random.default_rng(t).standard_normal((5, 3)).astype(np.float32)
        optimizer.zero_grad()
        ((model(x) - 1.0) ** 2).mean().backward()
        if t % 3 == 1:
            model.b.bias.grad = None  # such a parameter stands still, and its count of steps with it
        optimizer.step()


def bits(model: Any) -> list[bytes]:
    return [p.data.tobytes() for p in model.parameters()]


def test_the_first_step_of_adam_is_lr_whatever_the_gradient():
    """m̂ = g and v̂ = g² after one correction; a second would make the step lr·√(1 − β₂)/(1 − β₁) times as long."""
    for size in (1e-3, 1.0, 1e3):
        p = nn.Parameter(np.array([2.0, -1.0]))
        optimizer = optim.Adam([p], lr=0.1, eps=0.0)
        p.grad = kn.Tensor(np.array([size, -size]))
        optimizer.step()
        np.testing.assert_allclose(p.data, [1.9, -0.9], rtol=1e-12)


def test_adam_with_a_constant_gradient_moves_by_lr_in_every_step():
    """m̂ and v̂ stay g and g²: bias correction once, with the right t, in every one of 30 steps."""
    p = nn.Parameter(np.array([5.0]))
    optimizer = optim.Adam([p], lr=0.1, eps=0.0)
    for t in range(1, 31):
        p.grad = kn.Tensor(np.array([0.37]))
        optimizer.step()
        np.testing.assert_allclose(p.data, [5.0 - 0.1 * t], rtol=1e-12)


def test_parameters_without_gradient_are_skipped():
    model = net()
    before, optimizer = bits(model), optim.AdamW(model, lr=0.1)
    model.a.requires_grad_(False)
    model(np.ones((2, 3), np.float32)).sum().backward()
    assert optimizer.step() is None
    changed = [a != b for a, b in zip(before, bits(model), strict=True)]
    assert changed == [False, False, True, True]
    assert optimizer.state_dict()["steps"] == [0, 0, 1, 1]


def test_what_may_be_given_as_parameters():
    model = net()
    groups: Any = {"params": dict(model.named_parameters())}
    for given in (model, model.parameters(), list(model.parameters()), model.named_parameters(),
                  [{"params": model.a}, {"params": model.b.parameters(), "lr": 1.0}],
                  groups):  # fmt: skip
        optimizer = optim.SGD(given, lr=0.5)
        assert sum(len(group["params"]) for group in optimizer.param_groups) == 4
    assert [group["lr"] for group in optim.SGD([{"params": model.a}, {"params": model.b, "lr": 1}]).param_groups] == [
        1e-3, 1.0]  # fmt: skip


def test_the_scale_counts_before_the_decay():
    """As clipping by the norm would have changed the gradient itself."""
    a, b = (nn.Parameter(np.array([1.0, 2.0])) for _ in range(2))
    a.grad, b.grad = kn.Tensor(np.array([3.0, 4.0])), kn.Tensor(np.array([1.5, 2.0]))
    optim.SGD([a], lr=0.1, weight_decay=0.2).step(scale=0.5)
    optim.SGD([b], lr=0.1, weight_decay=0.2).step()
    assert a.data.tobytes() == b.data.tobytes()


def test_memory_that_may_only_be_read_is_replaced():
    fixed = np.ones(3, np.float32)
    fixed.flags.writeable = False
    p = nn.Parameter(fixed)
    (p * p).sum().backward()
    optim.SGD([p], lr=0.5).step()
    assert p.data.tolist() == [0, 0, 0] and fixed.tolist() == [1, 1, 1]


def test_a_converted_model_goes_on():
    model = net()
    optimizer = optim.Adam(model, lr=0.01)
    train(model, optimizer, 0, 1)
    model.double()
    model(np.ones((2, 3))).sum().backward()
    optimizer.step()
    assert optimizer.state_dict()["state"]["0"]["averages"].dtype == np.float64


# ------------------------------------------------------------------------------ states
@pytest.mark.parametrize("name", EVERY)
def test_a_loaded_optimizer_goes_on_with_the_same_bits(name):
    whole = net()
    train(whole, EVERY[name](whole), 0, 12)
    first = net()
    optimizer = EVERY[name](first)
    train(first, optimizer, 0, 7)
    saved = {key: value.numpy().copy() for key, value in first.state_dict().items()}
    state = optimizer.state_dict()
    arrays = state.pop("state")
    state = {**json.loads(json.dumps(state)), "state": arrays}  # all but the arrays is JSON
    second = net()
    other = EVERY[name](second)
    second.load_state_dict(saved)
    other.load_state_dict(state)
    train(first, optimizer, 7, 9)  # what was loaded is a copy
    train(second, other, 7, 12)
    assert bits(second) == bits(whole)


def test_options_and_groups_come_back():
    model = net()
    optimizer = optim.Adam([{"params": model.a, "lr": 0.5}, {"params": model.b, "betas": (0.5, 0.6)}])
    optimizer.param_groups[0]["initial_lr"] = 0.7
    other = optim.Adam([{"params": model.a}, {"params": model.b}])
    other.load_state_dict(json.loads(json.dumps(optimizer.state_dict())))
    assert [g["lr"] for g in other.param_groups] == [0.5, 1e-3]
    assert other.param_groups[1]["betas"] == (0.5, 0.6) and other.param_groups[0]["initial_lr"] == 0.7


def test_names_rule_over_places():
    one, two = (nn.Parameter(np.ones(2)) for _ in range(2))
    optimizer = optim.Adam([("one", one), ("two", two)])
    one.grad = kn.Tensor(np.array([1.0, 2.0]))
    optimizer.step()
    other = optim.Adam([("two", two), ("one", one)])
    other.load_state_dict(optimizer.state_dict())
    assert other.state_dict()["steps"] == [0, 1]


def test_every_parameter_that_does_not_fit_is_listed():
    model = net()
    optimizer = optim.Adam(model)
    train(model, optimizer, 0, 1)
    state = optimizer.state_dict()
    other = optim.Adam([("a.weight", nn.Parameter(np.ones((3, 3)))), ("a.bias", nn.Parameter(np.ones(4))),
                        ("c.weight", nn.Parameter(np.ones((2, 4)))), ("b.bias", nn.Parameter(np.ones(3)))])  # fmt: skip
    with pytest.raises(
        StateError, match=r"\[load_state_dict\] expected a state whose parts all fit this Adam"
    ) as caught:
        other.load_state_dict(state)
    text = str(caught.value)
    for fault in ("a.weight is of shape (3, 3), its averages in the state of shape (4, 3)",
                  "c.weight is not in the state", "b.weight is only in the state",
                  "b.bias is of shape (3,), its squares"):  # fmt: skip
        assert fault in text
    assert "a.bias" not in text
    assert other.state_dict()["steps"] == [0] * 4


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda s: s.pop("steps"), "name, groups, state, steps, got the keys name, groups, state"),
        (lambda s: s.update(name="SGD"), "the state of Adam, got that of SGD"),
        (lambda s: s["groups"].append(s["groups"][0]), "2 groups in the state, 1 here"),
        (lambda s: s["groups"][0]["params"].pop(), "group 0 has 3 parameters in the state, 4 here"),
        (lambda s: s["groups"][0].update(nesterov=True), "group 0: no option nesterov"),
        (lambda s: s["state"]["1"].pop("squares"), "a.bias has no squares in the state"),
        (lambda s: s["state"]["1"].update(momenta=np.ones(4)), "a.bias has momenta in the state"),
        (lambda s: s["steps"].pop(), "b.bias has no number of steps"),
        (lambda s: s["steps"].__setitem__(0, -1), "a.weight has no number of steps"),
    ],
)
def test_broken_states_are_refused(change, match):
    model = net()
    optimizer = optim.Adam(model)
    train(model, optimizer, 0, 1)
    state: Any = {k: dict(v) if isinstance(v, dict) else v for k, v in optimizer.state_dict().items()}
    change(state)
    before = optimizer.state_dict()["steps"]
    with pytest.raises(StateError, match=match):
        optimizer.load_state_dict(state)
    assert optimizer.state_dict()["steps"] == before


# ------------------------------------------------------------------------------ bad input
def wrong() -> list[Any]:
    p, q = nn.Parameter([1.0]), nn.Parameter([2.0])
    mixed: Any = [p, {"params": [q]}]
    one: Any = 1
    return [
        (lambda: optim.Adam([]), ArgumentError, "at least one parameter, got none"),
        (lambda: optim.Adam(iter(())), ArgumentError, "at least one parameter"),
        (lambda: optim.Adam([p, q, p]), ArgumentError, "each parameter once, got parameter 2, which was given as"),
        (lambda: optim.Adam([{"params": [p]}, {"params": [q, p]}]), ArgumentError, "each parameter once"),
        (lambda: optim.Adam({p, q}), ArgumentError, "a set has no order"),
        (lambda: optim.Adam(p), ArgumentError, r"got a Parameter. Hint: pass the model"),
        (lambda: optim.Adam([nn.Linear(2, 2)]), ArgumentError, r"pass model.parameters\(\)"),
        (lambda: optim.Adam(mixed), ArgumentError, "both in one list"),
        (lambda: optim.Adam([{"params": [p], "beta": 1}]), ArgumentError, "got 'beta'. Hint: did you mean betas"),
        (lambda: optim.Adam([{"lr": 1}]), ArgumentError, 'a group {"params"'),
        (lambda: optim.Adam([{"params": []}]), ArgumentError, "at least one parameter in a group"),
        (lambda: optim.Adam([p * 2.0]), GraphError, "a leaf as parameter 0, got a result"),
        (lambda: optim.Adam([kn.Tensor([1])]), DtypeError, "parameter 0 of a floating dtype, got int64"),
        (lambda: optim.Adam(nn.Linear(2)), StateError, "waits for its first input"),
        (lambda: optim.Adam([p], lr=-1.0), ArgumentError, r"\[Adam\] expected lr, a finite number from 0 on, got -1.0"),
        (lambda: optim.Adam([p], lr=float("nan")), ArgumentError, "lr, a finite number"),
        (lambda: optim.Adam([p], betas=(0.9, 1.0)), ArgumentError, "betas, two numbers from 0 to below 1"),
        (lambda: optim.Adam([p], amsgrad=one), ArgumentError, "amsgrad, True or False, got 1"),
        (lambda: optim.SGD([p], nesterov=True), ArgumentError, "momentum above 0 and no dampening"),
        (lambda: optim.SGD([p], momentum=0.9, nesterov=True, dampening=0.1), ArgumentError, "no dampening"),
    ]


@pytest.mark.parametrize("index", range(len(wrong())))
def test_bad_arguments_are_refused(index):
    call, error, match = wrong()[index]
    with pytest.raises(error, match=match):
        call()


def test_a_refused_group_leaves_nothing_behind():
    p, q = nn.Parameter([1.0]), nn.Parameter([2.0])
    optimizer = optim.SGD([p])
    with pytest.raises(ArgumentError, match="each parameter once"):
        optimizer.add_param_group({"params": [q, p]})
    optimizer.add_param_group({"params": [q]})
    assert len(optimizer.param_groups) == 2


def test_a_gradient_of_another_kind_is_refused_before_anything_changes():
    model = net()
    optimizer = optim.SGD(model, lr=0.1)
    model(np.ones((2, 3), np.float32)).sum().backward()
    before = bits(model)
    model.b.bias.grad.data = np.ones(3, np.float32)
    with pytest.raises(
        ShapeError, match=r"\[SGD\] expected a gradient of b.bias like it, float32\(2,\), got float32\(3,\)"
    ):
        optimizer.step()
    model.b.bias.grad.data = np.ones(2)
    with pytest.raises(ShapeError, match=r"got float64\(2,\)"):
        optimizer.step()
    assert bits(model) == before


def test_strange_gradients_are_named_on_request():
    model = net()
    optimizer = optim.Adam(model, needs_finite=True)
    model(np.ones((2, 3), np.float32)).sum().backward()
    before = bits(model)
    model.b.weight.grad.data[1, 2] = np.inf
    with pytest.raises(NumericsError, match=r"\[Adam\] expected a finite gradient of b.weight, got inf"):
        optimizer.step()
    assert bits(model) == before


def test_repr_says_what_is_learned_and_how():
    text = repr(optim.SGD(net(), lr=0.1))
    assert "SGD(" in text and "group 0: 4 parameters (26 numbers), lr=0.1, momentum=0.0" in text
