"""Arrays cross to PyTorch and back without a copy, and PyTorch's Function style carries over."""

import numpy as np
import pytest

import kinone as kn

torch = pytest.importorskip("torch", reason="PyTorch is not installed (tests/peers/requirements.txt)")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.bool, torch.float16])
def test_dlpack_both_ways(dtype):
    theirs = torch.arange(6).reshape(2, 3).to(dtype)
    ours = kn.Tensor(theirs)
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    assert ours.data.__array_interface__["data"][0] == theirs.data_ptr(), "no copy on the way in"
    array = np.arange(6).reshape(2, 3).astype(ours.dtype)
    back = torch.from_dlpack(kn.Tensor(array))
    assert back.data_ptr() == array.__array_interface__["data"][0], "no copy on the way out"
    np.testing.assert_array_equal(back.numpy(), array)


def test_the_walk_back_agrees_on_a_network_with_shared_parameters():
    rng = np.random.default_rng(0)
    x, w, v = rng.normal(size=(4, 3)), rng.normal(size=(3, 3)), rng.normal(size=(3,))

    def run(lib, x, w, v):
        h = lib.tanh(lib.matmul(x, w))
        h = lib.tanh(lib.matmul(h, w)) + h * v
        return (lib.matmul(h, w) * h).sum()

    ours = [kn.Tensor(a, requires_grad=True) for a in (x, w, v)]
    theirs = [torch.tensor(a, requires_grad=True) for a in (x, w, v)]
    a, b = run(kn, *ours), run(torch, *theirs)
    np.testing.assert_allclose(a.item(), b.item(), rtol=1e-13)
    firsts = kn.gradients(a, ours, create_graph=True), torch.autograd.grad(b, theirs, create_graph=True)
    for p, q in zip(*firsts, strict=True):
        np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=1e-12)
    penalties = [(first[0] ** 2).sum() + (first[1] ** 2).sum() + (first[2] ** 2).sum() for first in firsts]
    seconds = kn.gradients(penalties[0], ours), torch.autograd.grad(penalties[1], theirs)
    for p, q in zip(*seconds, strict=True):
        np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-11)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch.func's own
def test_transforms_agree_with_torch_func():
    a = np.random.default_rng(1).normal(size=(3, 3))

    def ours(x):
        return kn.tanh(kn.matmul(a, x)) * x

    def theirs(x):
        return torch.tanh(torch.tensor(a) @ x) * x

    x, v = np.array([0.3, -0.5, 0.9]), np.array([1.0, 2.0, -1.0])
    tx, tv = torch.tensor(x), torch.tensor(v)
    np.testing.assert_allclose(kn.jacobian(ours)(x).numpy(), torch.func.jacrev(theirs)(tx).numpy(), rtol=1e-12)
    np.testing.assert_allclose(kn.jvp(ours, (x,), (v,))[1].numpy(), torch.func.jvp(theirs, (tx,), (tv,))[1].numpy())
    hessians = kn.hessian(lambda x: ours(x).sum())(x).numpy(), torch.func.hessian(lambda x: theirs(x).sum())(tx).numpy()
    np.testing.assert_allclose(*hessians, rtol=1e-11)
