"""Layers and losses beside PyTorch's of the same names, arguments and weights: values, gradients, what is tracked."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import nn

torch = pytest.importorskip("torch", reason="PyTorch is not installed (tests/peers/requirements.txt)")

from peers.compare import near  # noqa: E402

Shape = tuple[int, ...]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """For arrays this small PyTorch's threads wait for one another longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def draw(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def twins(name: str, args: tuple[Any, ...], attrs: dict[str, Any]) -> tuple[Any, Any]:
    """Our layer and theirs, with the same weights and statistics, in float64."""
    ours, theirs = getattr(nn, name)(*args, **attrs).double(), getattr(torch.nn, name)(*args, **attrs).double()
    for i, (key, value) in enumerate(theirs.state_dict().items()):
        if value.dtype == torch.float64:
            new = torch.tensor(draw(*value.shape, seed=i + 1))
            value.copy_(new.abs() + 0.1 if key.endswith("var") else new)
    report = ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    assert report.is_complete
    return ours, theirs


def check(ours: Any, theirs: Any, arrays: tuple[Any, ...], what: str = "", limit: float = 1e-8) -> None:
    """One call forward and backward: outputs, gradients of inputs and parameters, and the state after it."""
    xs = [kn.Tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    ts = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    y, t = ours(*xs), theirs(*ts)
    if isinstance(y, tuple):
        np.testing.assert_array_equal(y[1].data, t[1].numpy())
        y, t = y[0], t[0]
    near(y.data, t.detach().numpy(), 1e-10, f"{what}output")
    for module in (ours, theirs):
        module.zero_grad()
    weights = np.linspace(0.5, 1.5, y.size).reshape(y.shape)
    y.backward(weights)
    t.backward(torch.tensor(weights))
    for i, (x, u) in enumerate(zip(xs, ts, strict=True)):
        if u.grad is not None:
            assert x.grad is not None
            near(x.grad.data, u.grad.numpy(), limit, f"{what}gradient of input {i}")
    theirs_grads = {key: p.grad.numpy() for key, p in theirs.named_parameters() if p.grad is not None}
    ours_grads = {key: p.grad.data for key, p in ours.named_parameters() if p.grad is not None}
    assert ours_grads.keys() == theirs_grads.keys()
    for key, g in ours_grads.items():
        near(g, theirs_grads[key], 1e-8, f"{what}gradient of {key}")
    for key, value in theirs.state_dict().items():
        near(ours.state_dict()[key].data, value.numpy(), 1e-10, f"{what}{key}")


IMAGE, LINE, BLOCK = (2, 4, 6, 7), (2, 4, 9), (2, 4, 4, 5, 3)
SIZES = {1: LINE, 2: IMAGE, 3: BLOCK}
CONV: list[tuple[Any, ...]] = [
    (4, 6, 3), (4, 6, 2, 2), (4, 6, 3, 2, 1), (4, 8, 3, 1, "same"), (4, 8, 2, 1, "same", 2), (4, 6, 3, 1, "valid"),
    (4, 6, 2, 1, 0, 1, 2, False), (4, 4, 3, 1, 1, 1, 4), (4, 6, 3, 1, 1, 1, 1, True, "reflect"),
    (4, 6, 3, 2, 1, 1, 2, True, "replicate"), (4, 6, 3, 1, 2, 1, 1, False, "circular"),
    (4, 6, 3, 1, "same", 1, 1, True, "reflect"),
]  # fmt: skip
TRANSPOSED: list[tuple[Any, ...]] = [
    (4, 6, 3),
    (4, 6, 2, 2),
    (4, 6, 3, 2, 1, 1),
    (4, 6, 3, 2, 0, 1, 2, False),
    (4, 4, 3, 3, 1, 2, 4, True, 2),
]
NORMS: list[dict[str, Any]] = [
    {}, {"eps": 0.1, "momentum": 0.3}, {"momentum": None}, {"affine": False}, {"track_running_stats": False},
    {"track_running_stats": True, "affine": True},
]  # fmt: skip
POOLS: list[dict[str, Any]] = [
    {"kernel_size": 2}, {"kernel_size": 3, "stride": 2, "padding": 1}, {"kernel_size": 2, "stride": 1},
    {"kernel_size": 3, "stride": 2, "ceil_mode": True},
]  # fmt: skip

PLAIN = (
    "ReLU ReLU6 LeakyReLU ELU SELU CELU GELU SiLU Mish Sigmoid LogSigmoid Tanh Softplus Softsign Tanhshrink Softshrink "
    "Hardshrink Hardtanh Hardsigmoid Hardswish PReLU Identity Flatten"
)

Case = tuple[str, tuple[Any, ...], dict[str, Any], Shape]
CASES: list[Case] = [
    *((f"Conv{r}d", args, {}, SIZES[r]) for r in SIZES for args in CONV if r < 3 or "reflect" not in args),
    ("Conv2d", (4, 6, (3, 1), (1, 2), (2, 0), (1, 2)), {}, IMAGE),
    ("Conv3d", (4, 2, (1, 2, 3)), {"padding_mode": "reflect", "padding": (0, 1, 1)}, BLOCK),
    *((f"ConvTranspose{r}d", args, {}, SIZES[r]) for r in SIZES for args in TRANSPOSED),
    *((f"BatchNorm{r}d", (4,), attrs, SIZES[r]) for r in SIZES for attrs in NORMS),
    ("BatchNorm1d", (4,), {}, (5, 4)),
    *((f"InstanceNorm{r}d", (4,), attrs, SIZES[r]) for r in SIZES for attrs in NORMS if attrs != {"momentum": None}),
    ("LayerNorm", (7,), {}, IMAGE), ("LayerNorm", ((6, 7),), {"eps": 0.1}, IMAGE),
    ("LayerNorm", (7,), {"bias": False}, IMAGE), ("LayerNorm", (7,), {"elementwise_affine": False}, IMAGE),
    ("RMSNorm", (7,), {}, IMAGE), ("RMSNorm", ([6, 7],), {"eps": 0.1, "elementwise_affine": False}, IMAGE),
    ("GroupNorm", (2, 4), {}, IMAGE), ("GroupNorm", (4, 4), {"eps": 0.1, "affine": False}, LINE),
    *((f"MaxPool{r}d", (), attrs, SIZES[r]) for r in SIZES for attrs in (*POOLS, {"kernel_size": 2, "dilation": 2})),
    *((f"MaxPool{r}d", (2,), {"return_indices": True}, SIZES[r]) for r in SIZES),
    *((f"AvgPool{r}d", (), attrs, SIZES[r]) for r in SIZES for attrs in POOLS),
    *((f"AvgPool{r}d", (3, 2, 1), {"count_include_pad": False}, SIZES[r]) for r in SIZES),
    ("AvgPool2d", (2,), {"divisor_override": 3}, IMAGE),
    *((f"Adaptive{kind}Pool{r}d", (2,), {}, SIZES[r]) for kind in ("Avg", "Max") for r in SIZES),
    ("AdaptiveAvgPool2d", ((None, 3),), {}, IMAGE), ("AdaptiveMaxPool3d", ((2, None, 1),), {}, BLOCK),
    *((name, (), {}, IMAGE) for name in PLAIN.split()),
    ("GLU", (1,), {}, IMAGE), ("GELU", (), {"approximate": "tanh"}, IMAGE), ("LeakyReLU", (0.3,), {}, IMAGE),
    ("ELU", (0.5,), {}, IMAGE), ("CELU", (0.5,), {}, IMAGE), ("Softplus", (2.0,), {}, IMAGE),
    ("Hardtanh", (-0.5, 0.7), {}, IMAGE), ("Threshold", (0.2, -1.0), {}, IMAGE), ("PReLU", (4, 0.1), {}, IMAGE),
    ("Softshrink", (0.2,), {}, IMAGE), ("Hardshrink", (0.2,), {}, IMAGE),
    ("Softmax", (1,), {}, IMAGE), ("LogSoftmax", (-1,), {}, IMAGE), ("Softmin", (2,), {}, IMAGE),
    ("Flatten", (2,), {}, BLOCK), ("Flatten", (0, 1), {}, IMAGE), ("Unflatten", (1, (2, 2)), {}, IMAGE),
    ("Linear", (7, 3), {}, IMAGE), ("Linear", (7, 3, False), {}, (7,)),
    ("Unfold", ((2, 3),), {"padding": 1, "stride": 2, "dilation": (1, 2)}, IMAGE),
    ("Fold", ((6, 7), 2), {"padding": 1, "stride": 2}, (2, 12, 16)),
    *((f"ZeroPad{r}d", ((1, 0, 2, 1, 0, 3)[: 2 * r],), {}, SIZES[r]) for r in SIZES),
    *((f"ConstantPad{r}d", ((1, 0, 2, 1, 0, 3)[: 2 * r], 0.5), {}, SIZES[r]) for r in SIZES),
    *((f"{kind}Pad{r}d", ((1, 0, 2, 1, 0, 2)[: 2 * r],), {}, SIZES[r])
      for kind in ("Reflection", "Replication", "Circular") for r in SIZES),
    ("ReflectionPad2d", (2,), {}, IMAGE),
    ("Upsample", (), {"scale_factor": 2}, LINE), ("Upsample", ((9, 5),), {"mode": "bilinear"}, IMAGE),
    ("Upsample", (), {"scale_factor": 2.0, "mode": "trilinear", "align_corners": True}, BLOCK),
    ("Upsample", ((9, 5),), {"mode": "bicubic"}, IMAGE), ("UpsamplingNearest2d", (), {"scale_factor": 3}, IMAGE),
    ("UpsamplingBilinear2d", ((8, 11),), {}, IMAGE),
    ("PixelShuffle", (2,), {}, IMAGE), ("PixelUnshuffle", (3,), {}, (2, 4, 6, 9)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "args", "attrs", "shape"), CASES, ids=[f"{i}-{case[0]}" for i, case in enumerate(CASES)]
)
def test_layers(name: str, args: tuple[Any, ...], attrs: dict[str, Any], shape: Shape):
    ours, theirs = twins(name, args, attrs)
    limit = 1e-6 if name == "Hardsigmoid" else 1e-8  # PyTorch's ⅙ there is a float32
    for step in range(2):
        check(ours.train(), theirs.train(), (draw(*shape, seed=step),), f"training {step}: ", limit)
    check(ours.eval(), theirs.eval(), (draw(*shape, seed=3),), "evaluation: ", limit)


def test_every_layer_of_pytorchs_name_is_compared():
    """Dropout draws other numbers, MaxUnpool, Embedding, Bilinear and losses take other inputs: they come below."""
    elsewhere = ("Dropout", "MaxUnpool", "Loss", "Cell")
    own = {"Embedding", "Bilinear", "RNN", "GRU", "LSTM", "Module", "ModuleList", "ModuleDict", "Sequential"}
    named = {name for name in nn.MODULES if hasattr(torch.nn, name) and not any(word in name for word in elsewhere)}
    attention = {name for name in named if "Attention" in name or name.startswith("Transformer")}
    assert named - own - attention == {case[0] for case in CASES}


def test_two_inputs():
    check(*twins("Bilinear", (3, 4, 5), {}), (draw(2, 6, 3), draw(2, 6, 4)))
    check(*twins("Bilinear", (3, 4, 5, False), {}), (draw(2, 3), draw(2, 4)))


@pytest.mark.parametrize("padding_idx", [None, 2, -1])
def test_embedding(padding_idx: int | None):
    ours, theirs = twins("Embedding", (5, 3), {"padding_idx": padding_idx})
    check(ours, theirs, (np.array([[1, 2, 2], [4, 0, 1]]),))
    own, table = draw(5, 3).astype(np.float32), nn.Embedding.from_pretrained
    frozen = table(own, padding_idx=1)
    assert not frozen.weight.requires_grad and table(own, freeze=False).weight.requires_grad
    np.testing.assert_array_equal(frozen(np.array([3, 1])).data, own[[3, 1]])


@pytest.mark.parametrize("attrs", [{"kernel_size": 2}, {"kernel_size": 3, "stride": 2, "padding": 1}], ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 8), (2, 3, 9), (2, 3, 5, 6), (2, 3, 4, 7, 6)])
def test_unpooling(shape: Shape, attrs: dict[str, Any]):
    rank = len(shape) - 2
    ours, theirs = (getattr(library, f"MaxUnpool{rank}d")(**attrs) for library in (nn, torch.nn))
    pooled = getattr(torch.nn, f"MaxPool{rank}d")(return_indices=True, **attrs)(torch.tensor(draw(*shape)))
    x, places = (part.numpy() for part in pooled)
    near(ours(x, places, shape[2:]), theirs(*pooled, shape[2:]).numpy(), 1e-10, "where windows overlap, too")
    size = [(n - 1) * attrs.get("stride", 2) + attrs["kernel_size"] - 2 * attrs.get("padding", 0) for n in x.shape[2:]]
    inside = places % np.prod(size)
    y, t = ours(x, inside), theirs(pooled[0], torch.tensor(inside))
    assert y.shape == t.shape == (*shape[:2], *size)


@pytest.mark.parametrize("rank", SIZES)
def test_output_sizes_of_transposed_convolutions(rank: int):
    ours, theirs = twins(f"ConvTranspose{rank}d", (4, 2, 3, 2, 1), {})
    x = draw(*SIZES[rank])
    for size in ([2 * n - 1 for n in x.shape[2:]], [2 * n for n in x.shape[2:]]):
        near(ours(x, size).data, theirs(torch.tensor(x), size).detach().numpy(), 1e-10, f"{size}")


# ------------------------------------------------------------------------------ losses
X, T = draw(5, 4, 3), draw(5, 4, 3, seed=1)
P, Q = (np.exp(a) / np.exp(a).sum(axis=1, keepdims=True) for a in (X, T))
CLASSES = np.array([[3, 0, -100], [1, 2, 2], [0, 0, 3], [-100, 1, 1], [2, 3, 0]])
WEIGHT = [0.5, 2.0, 1.0, 0.25]
LOSSES: list[tuple[str, dict[str, Any], tuple[Any, ...]]] = [
    ("MSELoss", {}, (X, T)), ("L1Loss", {}, (X, T)), ("HuberLoss", {"delta": 0.7}, (X, T)),
    ("SmoothL1Loss", {"beta": 0.5}, (X, T)), ("SmoothL1Loss", {"beta": 0.0}, (X, T)),
    ("BCELoss", {}, (P, Q)), ("BCELoss", {"weight": [1.0, 0.5, 2.0]}, (P, Q)),
    ("BCELoss", {}, (np.array([0.0, 1.0, 0.0, 1.0, 1e-60]), np.array([0.0, 1.0, 1.0, 0.5, 1.0]))),
    ("BCEWithLogitsLoss", {}, (X * 30, Q)), ("BCEWithLogitsLoss", {"pos_weight": [1.0, 0.5, 2.0]}, (X, Q)),
    ("BCEWithLogitsLoss", {"weight": [1.0, 0.5, 2.0], "pos_weight": [[1.0], [2.0], [0.0], [3.0]]}, (X, Q)),
    ("CrossEntropyLoss", {}, (X, CLASSES)), ("CrossEntropyLoss", {"weight": WEIGHT}, (X, CLASSES)),
    ("CrossEntropyLoss", {"label_smoothing": 0.2}, (X, CLASSES)), ("CrossEntropyLoss", {}, (X[0, :, 0], np.array(2))),
    ("CrossEntropyLoss", {"weight": WEIGHT, "label_smoothing": 0.2, "ignore_index": 2}, (X, np.maximum(CLASSES, 0))),
    ("CrossEntropyLoss", {}, (X, Q)), ("CrossEntropyLoss", {"weight": WEIGHT, "label_smoothing": 0.2}, (X, Q)),
    ("NLLLoss", {}, (np.log(P), CLASSES)), ("NLLLoss", {"weight": WEIGHT}, (np.log(P), CLASSES)),
    ("NLLLoss", {"ignore_index": 1}, (np.log(P), np.maximum(CLASSES, 0))), ("NLLLoss", {}, (X[0, :, 0], np.array(2))),
    ("KLDivLoss", {}, (np.log(P), Q)), ("KLDivLoss", {"log_target": True}, (np.log(P), np.log(Q))),
]  # fmt: skip


def loss_twins(name: str, attrs: dict[str, Any]) -> tuple[Any, Any]:
    given = {k: torch.tensor(v, dtype=torch.float64) if isinstance(v, list) else v for k, v in attrs.items()}
    return getattr(nn, name)(**attrs).double(), getattr(torch.nn, name)(**given)


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("name", "attrs", "arrays"), LOSSES, ids=[f"{i}-{row[0]}" for i, row in enumerate(LOSSES)])
def test_losses(name: str, attrs: dict[str, Any], arrays: tuple[Any, ...], reduction: str):
    ours, theirs = loss_twins(name, {**attrs, "reduction": reduction})
    target = arrays[1]
    if name == "BCELoss" and arrays[0].ndim == 1:  # at 0 and 1 only values are alike: PyTorch's gradient there is 1e12
        near(ours(*arrays), theirs(*map(torch.tensor, arrays)).numpy(), 1e-10, "loss")
        return
    y = kn.Tensor(arrays[0], requires_grad=True)
    t = torch.tensor(arrays[0], requires_grad=True)
    a, b = ours(y, target), theirs(t, torch.tensor(target))
    near(a.data, b.detach().numpy(), 1e-10, "loss")
    weights = np.linspace(0.5, 1.5, a.size).reshape(a.shape)
    a.backward(weights)
    b.backward(torch.tensor(weights))
    assert y.grad is not None
    near(y.grad.data, t.grad.numpy(), 1e-8, "gradient")


def test_the_mean_divergence_of_a_batch():
    ours, theirs = loss_twins("KLDivLoss", {"reduction": "batchmean"})
    near(np.asarray(ours(np.log(P), Q)), theirs(torch.tensor(np.log(P)), torch.tensor(Q)).numpy(), 1e-10, "loss")


@pytest.mark.parametrize("in_a_row", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_ctc(reduction: str, in_a_row: bool):
    x = np.log(P).transpose(0, 2, 1)  # (T=5, N=3, C=4)
    targets, steps, lengths = np.array([[1, 2, 3], [1, 1, 2], [3, 2, 1]]), np.array([5, 5, 4]), np.array([2, 3, 1])
    given = np.concatenate([row[:n] for row, n in zip(targets, lengths, strict=True)]) if in_a_row else targets
    ours, theirs = loss_twins("CTCLoss", {"reduction": reduction})
    y, t = kn.Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    a = ours(y, given, steps, lengths)
    b = theirs(t, *map(torch.tensor, (given, steps, lengths)))
    near(a.data, b.detach().numpy(), 1e-10, "loss")
    a.sum().backward()
    b.sum().backward()
    assert y.grad is not None
    # PyTorch's gradient is that of logits behind a log-softmax: less their probability times what g sums to.
    ours_of_logits = y.grad.data - np.exp(x) * y.grad.data.sum(axis=2, keepdims=True)
    near(ours_of_logits, t.grad.numpy(), 1e-8, "gradient")


def test_focal_and_hinge_follow_their_formulas():
    labels = (T > 0).astype(np.float64)
    t, y = torch.tensor(X), torch.tensor(labels)
    p = torch.sigmoid(t)
    p_t, alpha_t = p * y + (1 - p) * (1 - y), 0.3 * y + 0.7 * (1 - y)
    focal = (-alpha_t * (1 - p_t) ** 1.5 * torch.log(p_t)).mean()
    near(np.asarray(nn.FocalLoss(0.3, 1.5)(X, labels)), focal.numpy(), 1e-10, "focal")
    hinge = torch.clamp(0.5 - (2 * y - 1) * t, min=0).sum()
    near(np.asarray(nn.HingeLoss("sum", margin=0.5)(X, 2 * labels - 1)), hinge.numpy(), 1e-10, "hinge")


# ------------------------------------------------------------------------------ first values
@pytest.mark.parametrize(
    ("name", "args"),
    [("Linear", (40, 60)), ("Conv2d", (8, 16, 3)), ("Conv1d", (8, 16, 5, 1, 0, 1, 4)), ("ConvTranspose2d", (8, 16, 3)),
     ("ConvTranspose2d", (8, 16, 3, 1, 0, 0, 4)), ("Bilinear", (12, 10, 30)), ("Embedding", (60, 40)), ("PReLU", (4,)),
     ("BatchNorm2d", (4,)), ("LayerNorm", (4,)), ("GroupNorm", (2, 4))],
)  # fmt: skip
def test_first_values_spread_as_pytorchs(name: str, args: tuple[Any, ...]):
    ours = {key: value.data for key, value in getattr(nn, name)(*args).state_dict().items()}
    theirs = {key: value.numpy() for key, value in getattr(torch.nn, name)(*args).state_dict().items()}
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        assert ours[key].shape == value.shape and ours[key].dtype == value.dtype
        if value.size > 100:
            assert abs(ours[key].std() / value.std() - 1) < 8 / np.sqrt(2 * value.size)
            if name != "Embedding":
                assert abs(abs(ours[key]).max() / abs(value).max() - 1) < 10 / value.size
        elif np.ptp(value) == 0:
            np.testing.assert_array_equal(ours[key], value)
