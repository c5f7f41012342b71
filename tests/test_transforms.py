"""grad, vjp, jvp, jacobian, hessian, Function and checkpoint on functions of nested structures."""

from typing import NamedTuple

import numpy as np
import pytest

import kinone as kn
from kinone.errors import ArgumentError, DtypeError, GraphError, ShapeError

RNG = np.random.default_rng(7)
A = RNG.normal(size=(3, 3))


class Params(NamedTuple):
    w: object
    b: object


def test_structures_come_back_as_they_went_in():
    def f(p, scale=1.0):
        return (p["layer"].w * p["layer"].b + p["list"][0] * 3.0).sum() * scale

    p = {"layer": Params(np.array([1.0, 2.0]), np.array([3.0, 4.0])), "list": [np.array([5.0, 6.0])], "none": None}
    g = kn.grad(f)(p, scale=2.0)
    assert isinstance(g["layer"], Params)
    assert g["layer"].w.tolist() == [6.0, 8.0]
    assert g["layer"].b.tolist() == [2.0, 4.0]
    assert g["list"][0].tolist() == [6.0, 6.0]
    assert g["none"] is None


def test_argnums_and_aux():
    def f(a, b):
        return (a * b * b).sum(), "aux"

    (value, aux), (gb, ga) = kn.value_and_grad(f, argnums=(1, 0), has_aux=True)(2.0, 3.0)
    assert (value.item(), aux, gb.item(), ga.item()) == (18.0, "aux", 12.0, 9.0)
    assert not value.requires_grad
    assert kn.grad(lambda a, b: a * b * b, argnums=-1)(2.0, 3.0).item() == 12.0


def test_one_argument_twice_counts_twice():
    x = kn.Tensor(3.0)
    ga, gb = kn.grad(lambda a, b: a * a * b, argnums=(0, 1))(x, x)
    assert (ga.item(), gb.item()) == (18.0, 9.0)


def test_gradients_reach_outer_variables_through_inner_ones():
    w = kn.Tensor(2.0, requires_grad=True)
    inner = kn.grad(lambda x: w * x * x)(3.0)  # 2wx
    inner.backward()
    assert w.grad.item() == 6.0
    outer = kn.grad(lambda x: kn.grad(lambda y: x * x * y * y)(x))(3.0)  # d/dx 2x³
    assert outer.item() == 54.0


def test_grad_works_inside_no_grad():
    with kn.no_grad():
        assert kn.grad(lambda x: x * x)(3.0).item() == 6.0


def test_a_function_of_nothing_has_zero_gradient():
    assert kn.grad(lambda x: kn.Tensor(1.0))(2.0).item() == 0.0
    assert kn.jacobian(lambda x: kn.Tensor([1.0, 2.0]))([2.0]).tolist() == [[0.0], [0.0]]


def test_vjp_jvp_and_jacobian_agree():
    def f(x):
        return kn.tanh(kn.matmul(A, x)) * x[0]

    x, g, v = RNG.normal(size=3), RNG.normal(size=3), RNG.normal(size=3)
    J = kn.jacobian(f)(x).numpy()
    h = 1e-6
    numeric = np.stack([(f(x + h * e) - f(x - h * e)) / (2 * h) for e in np.eye(3)], axis=1)
    np.testing.assert_allclose(J, numeric, rtol=1e-8, atol=1e-9)
    y, pull = kn.vjp(f, x)
    np.testing.assert_allclose(y.numpy(), f(x))
    np.testing.assert_allclose(pull(g)[0].numpy(), g @ J, rtol=1e-12)
    np.testing.assert_allclose(pull(g)[0].numpy(), g @ J, rtol=1e-12, err_msg="a second pull")
    y, push = kn.jvp(f, (x,), (v,))
    np.testing.assert_allclose(push.numpy(), J @ v, rtol=1e-12)


def test_jvp_over_several_and_nested_arguments():
    def f(p, c):
        return p["a"] * p["b"] + c * c

    y, push = kn.jvp(f, ({"a": 2.0, "b": 3.0}, 4.0), ({"a": 1.0, "b": 10.0}, 100.0))
    assert (y.item(), push.item()) == (22.0, 3.0 + 20.0 + 800.0)


def test_jacobian_of_structures_and_hessian():
    J = kn.jacobian(lambda p: {"sum": p["x"].sum(), "double": p["x"] * 2.0})({"x": np.array([1.0, 2.0])})
    assert J["sum"]["x"].tolist() == [1.0, 1.0]
    assert J["double"]["x"].tolist() == [[2.0, 0.0], [0.0, 2.0]]
    x, v = RNG.normal(size=3), RNG.normal(size=3)

    def quartic(x):
        return (kn.matmul(A, x) ** 4).sum()

    H = kn.hessian(quartic)(x).numpy()
    want = A.T @ np.diag(12 * (A @ x) ** 2) @ A
    np.testing.assert_allclose(H, want, rtol=1e-10)
    np.testing.assert_allclose(kn.hvp(quartic, x, v).numpy(), want @ v, rtol=1e-10)


def test_hessian_can_be_differentiated():
    third = kn.grad(lambda x: kn.hessian(lambda y: (y * y * y * y).sum())(x).sum())(np.array([1.0, 2.0]))
    np.testing.assert_allclose(third.numpy(), [24.0, 48.0])


@pytest.mark.parametrize(
    ("what", "error", "message"),
    [
        (lambda: kn.grad(lambda x: x * x)(2), DtypeError, r"floating dtype, got int64.*1\.0"),
        (lambda: kn.grad(lambda x: x, argnums=1)(2.0), ArgumentError, r"argnums within the 1"),
        (lambda: kn.grad(lambda x: 3.0)(2.0), GraphError, r"returns a Tensor, got a float"),
        (lambda: kn.grad(lambda x: x * 2.0)([1.0, 2.0]), GraphError, r"a scalar, got shape \(2,\)"),
        (lambda: kn.jvp(lambda x: x, (np.ones(2),), (np.ones(3),)), ShapeError, r"\(2,\)"),
    ],
)
def test_refusals(what, error, message):
    with pytest.raises(error, match=message):
        what()


# ------------------------------------------------------------------------------------ Function
class Cube(kn.Function):
    @staticmethod
    def forward(ctx, x, power_of_two):
        y = x * x * x
        ctx.save_for_backward(x, y)
        ctx.scale = 2**power_of_two
        return y * ctx.scale

    @staticmethod
    def backward(ctx, g):
        x, _y = ctx.saved_tensors
        return g * 3 * x * x * ctx.scale, None


def test_function_is_differentiated_to_second_order():
    x = np.array([0.5, -1.5])
    kn.gradcheck(lambda x: Cube.apply(x, 1), x)
    kn.gradgradcheck(lambda x: Cube.apply(x, 1), x)
    with kn.no_grad():
        assert not Cube.apply(kn.Tensor(x, requires_grad=True), 1).requires_grad


def test_function_that_saves_its_output():
    class Exp(kn.Function):
        @staticmethod
        def forward(ctx, x):
            y = kn.exp(x)
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0]

    kn.gradgradcheck(Exp.apply, np.array([0.3, -0.2]))


def test_function_with_a_wrong_gradient_is_refused():
    class Wrong(kn.Function):
        @staticmethod
        def forward(ctx, x):
            return x.sum()

        @staticmethod
        def backward(ctx, g):
            return g

    with pytest.raises(ShapeError, match=r"\[Wrong\.backward\]"):
        kn.grad(Wrong.apply)(np.ones(3))


# ------------------------------------------------------------------------------------ checkpoint
def test_checkpoint_gives_the_same_gradients_and_keeps_nothing():
    w = kn.Tensor(RNG.normal(size=(3, 3)), requires_grad=True)
    runs = []

    def block(x):
        runs.append(1)
        return kn.tanh(kn.matmul(kn.tanh(kn.matmul(x, w)), w))

    x = kn.Tensor(RNG.normal(size=(2, 3)), requires_grad=True)
    plain = kn.gradients((block(x) ** 2).sum(), [x, w])
    runs.clear()
    y = kn.checkpoint(block, x)
    assert y.node.arrays[0] is x.data
    assert len(y.node.arrays) == 1
    saved = kn.gradients((y**2).sum(), [x, w])
    assert len(runs) == 2
    for a, b in zip(plain, saved, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    (kn.checkpoint(block, x) ** 2).sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), plain[1].numpy(), "a parameter that was not handed in")


def test_checkpoint_to_second_order():
    kn.gradgradcheck(lambda x: kn.checkpoint(lambda x: kn.tanh(x) * x, x), np.array([0.3, -0.4]))


def test_checkpoint_repeats_dropout():
    kn.random.seed(3)
    x = kn.Tensor(np.ones(1000), requires_grad=True)
    y = kn.checkpoint(lambda x: kn.dropout(x, p=0.5) * 2.0, x)
    after = kn.random.stream("dropout").step
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.numpy())
    assert kn.random.stream("dropout").step == after, "backward must not move the streams on"


def test_checkpoint_nests_and_passes_constants():
    x = kn.Tensor(np.array([0.5]), requires_grad=True)

    def outer(x, k):
        return kn.checkpoint(lambda z: kn.exp(z) * k, x) * x

    y = kn.checkpoint(outer, x, 3.0)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 3 * np.exp(0.5) * (1 + 0.5), rtol=1e-14)
