"""One sample of every module: how it is made, what it takes, and what it refuses.

A class that a table of the package lists and that has no sample here fails tests/test_modules_table.py.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kinone import nn, ops


@dataclass(frozen=True)
class Sample:
    """`make()` gives the module, `inputs` are arrays for it, or tuples of them (float32, integers as they are).

    `wrong` are inputs of another channel count or rank, with what the error says; `empty` are inputs without a
    sample, and `empty_error` what is said to them, if they are refused. `is_run` is False for
    containers that define no forward.
    """

    make: Callable[[], nn.Module]
    inputs: tuple[Any, ...] = ()
    shape: Any = None  # of the output
    wrong: tuple[tuple[tuple[Any, ...], str], ...] = ()
    empty: tuple[Any, ...] | None = None
    empty_error: str = ""
    empty_modes: tuple[bool, ...] = (True, False)  # in which of training and evaluation it is refused
    lazy: Callable[[], nn.Module] | None = None  # the same, made without the number of its inputs
    is_run: bool = True
    idle: tuple[str, ...] = field(default=())  # parameters to which no gradient comes, and the comment says why


def draw(*shape: int) -> Any:
    """Numbers that are neither 0 nor equal."""
    return np.random.default_rng(len(shape) + sum(shape)).standard_normal(shape).astype(np.float32)


def _conv(rank: int) -> dict[str, Sample]:
    size = (5, 4, 3)[:rank]
    conv = getattr(nn, f"Conv{rank}d")
    back = getattr(nn, f"ConvTranspose{rank}d")
    wrong = (
        ((draw(2, 3, *size),), rf"x with 4 channels .*got 3 \(x has shape \(2, 3, {', '.join(map(str, size))}"),
        ((draw(4, *size),), rf"x of shape .*got shape \(4, {', '.join(map(str, size))}"),
    )
    out = tuple(n - 1 for n in size)
    return {
        conv.__name__: Sample(
            lambda: conv(4, 6, 2, groups=2), (draw(2, 4, *size),), (2, 6, *out), wrong, (draw(0, 4, *size),),
            lazy=lambda: conv(None, 6, 2, groups=2),
        ),
        back.__name__: Sample(
            lambda: back(4, 6, 2, groups=2), (draw(2, 4, *size),), (2, 6, *(n + 1 for n in size)), wrong,
            (draw(0, 4, *size),), lazy=lambda: back(None, 6, 2, groups=2),
        ),
    }  # fmt: skip


def _norms(rank: int) -> dict[str, Sample]:
    size = (3, 2, 2)[:rank]
    wrong = (
        ((draw(4, 3, *size),), rf"x of shape .*2.*got shape \(4, 3, {', '.join(map(str, size))}"),
        ((draw(2),), r"x of shape .*got shape \(2,\)"),
    )
    batch, instance = getattr(nn, f"BatchNorm{rank}d"), getattr(nn, f"InstanceNorm{rank}d")
    return {
        batch.__name__: Sample(
            lambda: batch(2), (draw(4, 2, *size),), (4, 2, *size), wrong, (draw(0, 2, *size),),
            "two values for each channel, got 0", (True,), lazy=batch,
        ),
        instance.__name__: Sample(
            lambda: instance(2, affine=True, track_running_stats=True), (draw(4, 2, *size),), (4, 2, *size), wrong,
            (draw(0, 2, *size),), lazy=lambda: instance(affine=True, track_running_stats=True),
        ),
    }  # fmt: skip


def _pools(rank: int) -> dict[str, Sample]:
    size, half = (4, 6, 2)[:rank], (2, 3, 1)[:rank]
    x, empty = (draw(2, 3, *size),), (draw(0, 3, *size),)
    wrong = (((draw(3, *size),), rf"x of shape .*got shape \(3, {', '.join(map(str, size))}"),)
    places = np.arange(int(np.prod(half))).reshape(1, 1, *half).repeat(3, 1).repeat(2, 0)
    kinds = {
        f"{kind}{rank}d": Sample(
            lambda kind=kind: getattr(nn, f"{kind}{rank}d")(2), x, (2, 3, *half), wrong, empty
        )
        for kind in ("MaxPool", "AvgPool")
    }  # fmt: skip
    for kind in ("AdaptiveAvgPool", "AdaptiveMaxPool"):
        kinds[f"{kind}{rank}d"] = Sample(
            lambda kind=kind: getattr(nn, f"{kind}{rank}d")(half), x, (2, 3, *half), wrong, empty
        )
    kinds[f"MaxUnpool{rank}d"] = Sample(
        lambda: getattr(nn, f"MaxUnpool{rank}d")(2), (draw(2, 3, *half), places), (2, 3, *size),
        (((draw(2, 3, *half), places[:1]), "indices of x's shape"),), (draw(0, 3, *half), places[:0]),
    )  # fmt: skip
    kinds[f"Dropout{rank}d"] = Sample(lambda: getattr(nn, f"Dropout{rank}d")(0.5), x, (2, 3, *size), wrong, empty)
    for kind in ("ZeroPad", "ReflectionPad", "ReplicationPad", "CircularPad", "ConstantPad"):
        value = (0.5,) if kind == "ConstantPad" else ()
        kinds[f"{kind}{rank}d"] = Sample(
            lambda kind=kind, value=value: getattr(nn, f"{kind}{rank}d")((1, 0) * rank, *value), x,
            (2, 3, *(n + 1 for n in size)), wrong, empty,
        )  # fmt: skip
    return kinds


_PLAIN = (
    "ReLU ReLU6 LeakyReLU ELU SELU CELU GELU SiLU Mish Sigmoid LogSigmoid Tanh Softplus Softsign Tanhshrink "
    "Softshrink Hardshrink Hardtanh Hardsigmoid Hardswish Softmax LogSoftmax Softmin Identity"
)
X, NONE = draw(2, 3, 4, 6), draw(0, 3, 4, 6)
_FLAT = (((draw(3, 4),), r"\(3, 4\)"),)

LAYERS: dict[str, Sample] = {
    **{name: Sample(getattr(nn, name), (draw(2, 4),), (2, 4), empty=(draw(0, 4),)) for name in _PLAIN.split()},
    "Threshold": Sample(lambda: nn.Threshold(0.5, -1.0), (draw(2, 4),), (2, 4), empty=(draw(0, 4),)),
    "PReLU": Sample(
        lambda: nn.PReLU(3), (X,), X.shape, (((draw(2, 4),), r"w of shape .*got \(3,\)"),), (NONE,)
    ),
    "GLU": Sample(nn.GLU, (draw(2, 4),), (2, 2), (((draw(2, 3),), r"\(2, 3\)"),), (draw(0, 4),)),
    "Bilinear": Sample(
        lambda: nn.Bilinear(3, 2, 4), (draw(2, 3), draw(2, 2)), (2, 4),
        (((draw(2, 3), draw(2, 3)), r"x2 \(…, 2\).*\(2, 3\) and \(2, 3\)"),
         ((draw(2, 3), draw(1, 2)), r"the rest alike")),
        (draw(0, 3), draw(0, 2)),
    ),
    "Linear": Sample(
        lambda: nn.Linear(3, 4), (draw(2, 3),), (2, 4), (((draw(2, 5),), r"\(2, 5\)"),), (draw(0, 3),),
        lazy=lambda: nn.Linear(4),
    ),
    **{name: sample for rank in (1, 2, 3) for part in (_conv, _norms, _pools) for name, sample in part(rank).items()},
    "Unfold": Sample(lambda: nn.Unfold(2), (X,), (2, 12, 15), _FLAT, (NONE,)),
    "Fold": Sample(
        lambda: nn.Fold((4, 6), 2), (draw(2, 12, 15),), (2, 3, 4, 6),
        (((draw(2, 12, 14),), r"\(2, 12, 14\)"), ((draw(2, 11, 15),), r"\(2, 11, 15\)")), (draw(0, 12, 15),),
    ),
    "LayerNorm": Sample(
        lambda: nn.LayerNorm((4, 6)), (X,), X.shape, (((draw(2, 5),), r"\(…, 4, 6\), got shape \(2, 5\)"),), (NONE,)
    ),
    "RMSNorm": Sample(
        lambda: nn.RMSNorm(6), (X,), X.shape, (((draw(2, 5),), r"\(…, 6\), got shape \(2, 5\)"),), (NONE,)
    ),
    "GroupNorm": Sample(
        lambda: nn.GroupNorm(3, 3), (X,), X.shape, (((draw(2, 4),), r"\(N, 3, …\), got shape \(2, 4\)"),), (NONE,)
    ),
    "Dropout": Sample(nn.Dropout, (X,), X.shape, empty=(NONE,)),
    "AlphaDropout": Sample(nn.AlphaDropout, (X,), X.shape, empty=(NONE,)),
    "StochasticDepth": Sample(lambda: nn.StochasticDepth(0.25), (X,), X.shape, empty=(NONE,)),
    "Embedding": Sample(
        lambda: nn.Embedding(5, 3, padding_idx=0), (np.array([[1, 2], [4, 0]]),), (2, 2, 3),
        (((np.array([5]),), "indices from 0 to 4, got 5"), ((np.array([-1]),), "got -1"),
         ((np.array([0.5]),), "an integer dtype")), (np.zeros((0, 2), int),),
    ),
    "GlobalAvgPool": Sample(nn.GlobalAvgPool, (X,), (2, 3, 1, 1), (((draw(3, 4),), r"\(3, 4\)"),), (NONE,)),
    "GlobalMaxPool": Sample(nn.GlobalMaxPool, (X,), (2, 3, 1, 1), (((draw(3, 4),), r"\(3, 4\)"),), (NONE,)),
    "Flatten": Sample(nn.Flatten, (X,), (2, 72), (((draw(3),), r"start_axis=1 is outside"),), (NONE,)),
    "Unflatten": Sample(
        lambda: nn.Unflatten(1, (2, -1)), (draw(2, 6),), (2, 2, 3), (((draw(2, 5),), r"\(2, -1\), got 5"),),
        (draw(0, 6),),
    ),
    "Upsample": Sample(lambda: nn.Upsample(scale_factor=2), (X,), (2, 3, 8, 12), _FLAT[:0], (NONE,)),
    "UpsamplingNearest2d": Sample(lambda: nn.UpsamplingNearest2d(8), (X,), (2, 3, 8, 8), empty=(NONE,)),
    "UpsamplingBilinear2d": Sample(lambda: nn.UpsamplingBilinear2d(size=(8, 6)), (X,), (2, 3, 8, 6), empty=(NONE,)),
    "PixelShuffle": Sample(
        lambda: nn.PixelShuffle(2), (draw(2, 4, 3, 3),), (2, 1, 6, 6), (((X,), r"divisible by 4"),), (draw(0, 4, 3, 3),)
    ),
    "PixelUnshuffle": Sample(
        lambda: nn.PixelUnshuffle(2), (X,), (2, 12, 2, 3), (((draw(2, 4, 3, 3),), r"divisible by 2"),), (NONE,)
    ),
    "Sequential": Sample(
        lambda: nn.Sequential({"z": nn.Linear(3, 4), "a": nn.Tanh(), "m": nn.Linear(4, 2)}), (draw(2, 3),), (2, 2),
        (((draw(2, 5),), r"\(2, 5\)"),), (draw(0, 3),),
    ),
    "ModuleList": Sample(lambda: nn.ModuleList([nn.Linear(3, 4), nn.Tanh()]), is_run=False),
    "ModuleDict": Sample(lambda: nn.ModuleDict({"z": nn.Linear(3, 4), "a": nn.Tanh()}), is_run=False),
    "Residual": Sample(
        lambda: nn.Residual(nn.Linear(3, 4), nn.Linear(3, 4)), (draw(2, 3),), (2, 4), (((draw(2, 5),), r"\(2, 5\)"),),
        (draw(0, 3),),
    ),
    "Lambda": Sample(lambda: nn.Lambda(ops.softmax, axis=0), (draw(2, 3),), (2, 3), empty=(draw(0, 3),)),
}  # fmt: skip

_STEPS = (draw(4, 2, 3),)
SEQUENCES: dict[str, Sample] = {
    **{
        name: Sample(
            lambda name=name: getattr(nn, name)(3, 5, num_layers=2, bidirectional=True), _STEPS, None,
            (((draw(4, 2, 6),), r"\(4, 2, 6\)"), ((draw(4),), r"\(4,\)")),
            lazy=lambda name=name: getattr(nn, name)(None, 5, num_layers=2, bidirectional=True),
        )
        for name in ("RNN", "GRU", "LSTM")
    },
    **{
        f"{name}Cell": Sample(
            lambda name=name: getattr(nn, f"{name}Cell")(3, 5),
            (draw(2, 3), (draw(2, 5), draw(2, 5)) if name == "LSTM" else draw(2, 5)),
            (2, 5), (((draw(2, 6),), r"\(2, 6\)"),), (draw(0, 3),),
            lazy=lambda name=name: getattr(nn, f"{name}Cell")(5),
        )
        for name in ("RNN", "GRU", "LSTM")
    },
    "MultiheadAttention": Sample(
        lambda: nn.MultiheadAttention(4, 2, kdim=3, dropout=0.1, rotary=nn.RotaryEmbedding(2)),
        (draw(5, 2, 4), draw(3, 2, 3), draw(3, 2, 4)), (5, 2, 4),
        (((draw(5, 2, 3),), r"query \(L, N, 4\), .* got shape \(5, 2, 3\)"),),
    ),
    "SinusoidalPositions": Sample(
        lambda: nn.SinusoidalPositions(3, batch_first=True), _STEPS, (4, 2, 3), (((draw(3, 2),), r"\(3, 2\)"),),
        (draw(0, 2, 3),),
    ),
    "LearnedPositions": Sample(
        lambda: nn.LearnedPositions(4, 3), _STEPS, (4, 2, 3), (((draw(5, 3),), "at most 4 positions, got 5"),)
    ),
    "RotaryEmbedding": Sample(
        lambda: nn.RotaryEmbedding(4, is_interleaved=True), (draw(2, 3, 4),), (2, 3, 4),
        (((draw(3, 2),), r"\(3, 2\)"),), (draw(0, 3, 4),),
    ),
}  # fmt: skip


# ------------------------------------------------------------------------------ losses
def probabilities(*shape: int) -> Any:
    e = np.exp(draw(*shape))
    return e / e.sum(axis=-1, keepdims=True)


def _loss(make: Callable[[], nn.Module], x: Any, target: Any, *wrong: Any, shape: Any = ()) -> Sample:
    wrong = (((x, target[:1]), r"target"), *wrong)
    return Sample(
        make, (x, target), shape, wrong, (x[:0], target[:0]), "at least one loss to take the mean of, got none"
    )


_X, _T, _LABELS = draw(3, 4), draw(4, 3).T.copy(), (draw(3, 4) > 0).astype(np.int64)
_CLASSES = np.array([3, 0, -100])
_CLASS_ERROR = ((_X, np.array([0, 1, 4])), "classes from 0 to 3, got 4")
_CTC = (np.log(probabilities(4, 2, 3)), np.array([[1, 2], [1, 1]]), np.array([4, 3]), np.array([2, 1]))
LOSSES: dict[str, Sample] = {
    "MSELoss": _loss(nn.MSELoss, _X, _T),
    "L1Loss": _loss(nn.L1Loss, _X, _T),
    "HuberLoss": _loss(lambda: nn.HuberLoss(delta=0.5), _X, _T),
    "SmoothL1Loss": _loss(lambda: nn.SmoothL1Loss(beta=0.5), _X, _T),
    "SSELoss": Sample(nn.SSELoss, (_X, _T), (), (((_X, _T[:1]), "target"),), (_X[:0], _T[:0])),
    "BCELoss": _loss(
        lambda: nn.BCELoss([1.0, 2.0, 3.0, 4.0]), probabilities(3, 4), probabilities(4, 3).T.copy(),
        ((_X, _T), "probabilities from 0 to 1"),
    ),
    "BCEWithLogits": _loss(
        lambda: nn.BCEWithLogits(pos_weight=[1.0, 2.0, 3.0, 4.0]), _X, probabilities(4, 3).T.copy(),
        ((draw(3, 3), draw(3, 3)), r"weights that broadcast to \(3, 3\), got \(4,\)"),
    ),
    "FocalLoss": _loss(nn.FocalLoss, _X, _LABELS, ((_X, _LABELS * 2), "targets 0 or 1, got 2")),
    "HingeLoss": _loss(nn.HingeLoss, _X, 2 * _LABELS - 1, ((_X, _LABELS), "targets −1 or 1, got 0")),
    "CrossEntropyLoss": _loss(
        lambda: nn.CrossEntropyLoss([1.0, 2.0, 0.5, 1.5], label_smoothing=0.1), _X, _CLASSES, _CLASS_ERROR
    ),
    "NLLLoss": _loss(lambda: nn.NLLLoss([1.0, 2.0, 0.5, 1.5]), _X, _CLASSES, _CLASS_ERROR),
    "KLDivLoss": _loss(
        lambda: nn.KLDivLoss("batchmean"), _X, probabilities(4, 3).T.copy(), ((_X, _T), "probabilities ≥ 0")
    ),
    "CTCLoss": Sample(
        nn.CTCLoss, _CTC, (), (((_CTC[0], *_CTC[1:3], np.array([3, 1])), "target_lengths from 0 to 2, got 3"),
                               ((_CTC[0][0], *_CTC[1:]), r"x \(T, N, C\)")),
        (_CTC[0][:, :0], *(part[:0] for part in _CTC[1:])), "at least one loss",
    ),
    "TransformerEncoderLayer": Sample(
        lambda: nn.TransformerEncoderLayer(4, 2, 6, activation="gelu", norm_first=True, rotary=nn.RotaryEmbedding(2)),
        (draw(5, 2, 4),), (5, 2, 4), (((draw(5, 2, 3),), r"\(5, 2, 3\)"),),
    ),
    "TransformerDecoderLayer": Sample(
        lambda: nn.TransformerDecoderLayer(4, 2, 6, activation=ops.silu), (draw(5, 2, 4), draw(3, 2, 4)), (5, 2, 4),
        (((draw(5, 2, 4), draw(3, 2, 3)), r"key \(S, N, 4\), .* got shape \(3, 2, 3\)"),),
    ),
    "TransformerEncoder": Sample(
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 6), 2, nn.LayerNorm(4)),
        (draw(5, 2, 4),), (5, 2, 4), (((draw(5, 2, 3),), r"\(5, 2, 3\)"),),
    ),
    "TransformerDecoder": Sample(
        lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 6), 2), (draw(5, 2, 4), draw(3, 2, 4)),
        (5, 2, 4), (((draw(5, 2, 4), draw(3, 2, 3)), r"\(3, 2, 3\)"),),
    ),
    "Transformer": Sample(
        lambda: nn.Transformer(4, 2, 1, 2, 6, batch_first=True), (draw(2, 3, 4), draw(2, 5, 4)), (2, 5, 4),
        (((draw(2, 3, 4), draw(1, 5, 4)), "one batch in all three"),), (draw(0, 3, 4), draw(0, 5, 4)),
    ),
}  # fmt: skip
