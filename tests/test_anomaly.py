"""Anomaly mode: the first operator, forward or backward; what was saved; and that it can be run again."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone.core.modes import modes
from kinone.core.op import op
from kinone.errors import ArgumentError, NumericsError
from kinone.inspection import detect_anomaly, rerun

EINSUM: Any = kn.einsum


def f32(values: Any) -> Any:
    return np.array(values, np.float32)


def caught(f, folder):
    """The error that f() raises in anomaly mode, and the file it names."""
    with pytest.raises(NumericsError) as found, detect_anomaly(folder):
        f()
    assert modes.observers == () and modes.recording
    (path,) = re.findall(r"rerun\('(.+)'\)", str(found.value))
    return found.value, Path(path)


def test_the_first_operator_is_named_not_the_last(tmp_path):
    x = kn.Tensor([4.0, -1.0, 0.0])
    error, path = caught(lambda: kn.exp(kn.sqrt(x * 1.0) + 1.0).sum(), tmp_path)
    assert error.where == "sqrt" and "got nan at [1] (1 of 3 elements)" in str(error)
    assert str(error).startswith("[sqrt] expected no NaN from inputs without one, got ") and "Hint: " in str(error)
    assert path.parent == tmp_path and path.suffix == ".npz"
    np.testing.assert_array_equal(rerun(path), f32([2, np.nan, 0]))


def test_an_infinity_out_of_finite_values(tmp_path):
    error, path = caught(lambda: kn.Tensor([[1.0, 3e38]]) * 2.0, tmp_path)
    assert str(error).startswith(
        "[multiply] expected finite values from finite inputs, got inf at [0, 1] (1 of 2 elements)."
    )
    np.testing.assert_array_equal(rerun(path), f32([[2, np.inf]]))
    error, _ = caught(lambda: kn.log(kn.Tensor([1.0, 0.0])), tmp_path)
    assert "got -inf at [1]" in str(error)


def test_the_first_rule_is_named(tmp_path):
    x = kn.Tensor([4.0, 0.0], requires_grad=True)
    error, path = caught(lambda: (kn.sqrt(x) * 3.0).sum().backward(), tmp_path)
    assert error.where == "sqrt" and "got inf at [1] (1 of 2 elements) in the gradient of x" in str(error)
    (gradient,) = rerun(path)
    np.testing.assert_array_equal(gradient, f32([0.75, np.inf]))
    assert x.grad is None


def test_the_gradient_of_the_right_input_is_named(tmp_path):
    a, b = kn.Tensor([1.0]), kn.Tensor([1e-30], requires_grad=True)
    error, path = caught(lambda: kn.divide(a, b).backward(), tmp_path)
    assert error.where == "divide" and "in the gradient of b" in str(error)
    first, second = rerun(path)
    assert first is None and np.isinf(second)


def test_a_nan_that_was_handed_in_is_no_operators_fault(tmp_path):
    error, _ = caught(lambda: kn.Tensor([1.0, np.nan]) + 1.0, tmp_path)
    assert str(error).startswith("[add] expected inputs without NaN (no operator made one), got nan at [1]")
    x = kn.Tensor([1.0], requires_grad=True)
    error, _ = caught(lambda: (x * 2.0).backward([np.nan]), tmp_path)
    assert error.where == "multiply" and "expected inputs without NaN" in str(error)


def test_infinite_masks_may_pass(tmp_path):
    x = kn.Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    with detect_anomaly(tmp_path):
        scores = kn.where(np.array([[True, False], [True, True]]), x, -np.inf)
        kn.softmax(scores, axis=-1).sum().backward()
        assert bool(kn.isnan(kn.Tensor([np.nan]))), "what answers with finite values may see a NaN"
    assert list(tmp_path.iterdir()) == []
    error, _ = caught(lambda: kn.Tensor([np.inf]) - kn.Tensor([np.inf]), tmp_path)
    assert error.where == "subtract"


def test_every_kind_of_argument_survives_the_file(tmp_path):
    big = kn.Tensor(np.full((2, 3), 3e38, np.float32))
    for call in (
        lambda: kn.sum(big, axis=(0, 1), keepdims=True),
        lambda: kn.concat(big, big, axis=1) * 2.0,
        lambda: EINSUM("ij,kj->ik", big, big),
        lambda: kn.clip(big, 0.0, None) * 4.0,
        lambda: kn.divide(1.0, kn.Tensor([0.0])),
        lambda: kn.pow(big, 2.0),
    ):
        _, path = caught(call, tmp_path)
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(rerun(path), call().data)


def test_multiple_outputs_and_fused_rules_run_again(tmp_path):
    x = kn.Tensor(f32([[1.0, 2.0], [3.0, 4.0]]), requires_grad=True)
    error, path = caught(lambda: kn.topk(x, 1, axis=-1)[0].backward(f32([[np.inf], [1.0]]) * 0), tmp_path)
    assert "expected inputs without NaN" in str(error)
    (gradient,) = rerun(path)
    assert np.isnan(gradient[0, 1]) and gradient[1, 1] == 0
    error, path = caught(
        lambda: kn.softmax(x, axis=-1).backward(np.full((2, 2), 3e38, np.float32) * [[1, -1]] * 4), tmp_path
    )
    assert rerun(path)[0].shape == (2, 2)


def test_second_derivatives_are_watched_too(tmp_path):
    x = kn.Tensor(0.0, requires_grad=True)
    with pytest.raises(NumericsError), detect_anomaly(tmp_path):
        kn.gradients(kn.gradients(kn.pow(x, 1.5), [x], create_graph=True)[0], [x])


def test_a_file_of_a_given_name_is_replaced_whole(tmp_path):
    target = tmp_path / "deep" / "er" / "inputs.npz"
    for value in (0.0, -0.0):
        _, path = caught(lambda value=value: kn.log(kn.Tensor([value])), target)
        assert path == target
    assert [p.name for p in target.parent.iterdir()] == ["inputs.npz"], "no temporary file is left"
    with np.load(target, allow_pickle=False) as file:
        assert np.signbit(file["inputs.0"][0])
        assert json.loads(str(file["call"]))["op"] == "log"


def test_without_a_place_it_goes_to_the_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    _, path = caught(lambda: kn.log(kn.Tensor([0.0])), None)
    assert path.parent == tmp_path


def test_a_disk_that_refuses_does_not_hide_the_fault(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(NumericsError, match=r"\[log\].*got -inf.*could not be saved"),
        detect_anomaly(tmp_path / "file" / "x.npz"),
    ):
        kn.log(kn.Tensor([0.0]))


def test_an_operator_of_ones_own(tmp_path):
    @op(samples=[])
    def spike(x, *, at=(0,), how=None):
        return np.where(np.arange(len(x)) == at[0], np.inf, x)

    _, path = caught(lambda: spike(kn.Tensor([1.0, 2.0]), at=(1,)), tmp_path)
    with pytest.raises(ArgumentError, match=r"an operator of kinone.ops, got spike.*op=yours"):
        rerun(path)
    np.testing.assert_array_equal(rerun(path, op=spike), [1, np.inf])
    _, path = caught(lambda: spike(kn.Tensor([1.0, 2.0]), how=object()), tmp_path)
    with pytest.raises(ArgumentError, match="nothing that a file can hold"):
        rerun(path, op=spike)


def test_other_files_are_refused(tmp_path):
    text, other = tmp_path / "a.npz", tmp_path / "b.npz"
    text.write_text("not a zip file")
    np.savez(other, x=np.ones(2))
    np.savez(tmp_path / "c.npz", call=np.array(json.dumps({"format": "other.v9", "op": "log", "call": {"dict": {}}})))
    np.savez(tmp_path / "d.npz", call=np.array(["{}", None], dtype=object))
    for name in ("a.npz", "b.npz", "c.npz", "d.npz"):
        with pytest.raises(ArgumentError, match=r"\[rerun\] expected"):
            rerun(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        rerun(tmp_path / "absent.npz")


def test_finite_work_is_left_alone(tmp_path):
    x: Any = kn.Tensor([1.0, 2.0], requires_grad=True)
    with detect_anomaly(tmp_path):
        (kn.tanh(x) * kn.Tensor([1, 2])[0].astype(np.float32)).sum().backward()
    np.testing.assert_allclose(x.grad.data, 1 - np.tanh([1.0, 2.0]) ** 2, rtol=1e-6)


def test_scalars_are_looked_at_like_arrays(tmp_path):
    x = kn.Tensor(0.0, requires_grad=True)
    error, _ = caught(lambda: kn.sqrt(x).backward(), tmp_path)
    assert "got inf at [] (1 of 1 elements) in the gradient of x" in str(error)
