"""Starting from what another training has learned: weights from a file, a new head, frozen layers."""

import warnings
from typing import Any, TypeVar

from kinone.errors import ArgumentError, StateError
from kinone.nn.linear import Linear
from kinone.nn.module import Module
from kinone.nn.parameter import Parameter
from kinone.nn.state import LoadReport, Shape

M = TypeVar("M", bound=Module)


def head_of(model: Module) -> tuple[str, Linear]:
    """The layer that makes the classes, and its path: what the model calls its `head`, else its last Linear.

    >>> from kinone import models
    >>> head_of(models.resnet18(num_classes=3))[0]
    'fc'
    """
    named = getattr(model, "head", None)
    linear = [(path, part) for path, part in model.named_modules() if isinstance(part, Linear)]
    found = [pair for pair in linear if not isinstance(named, str) or pair[0] == named]
    if not found:
        hint = "set its layer yourself: model.last = nn.Linear(…)."
        raise ArgumentError("head", "a model with a Linear as its head", type(model).__name__, hint=hint)
    return found[-1]


def replace_head(model: M, num_classes: int) -> M:
    """Give the model a new, untrained last layer for `num_classes` classes; all else stays as it is.

    >>> from kinone import models
    >>> net = replace_head(models.resnet18(), 14)
    >>> net.fc
    Linear(in_features=512, out_features=14, bias=True)
    """
    path, old = head_of(model)
    new = Linear(old.in_features, num_classes, bias=old.has_bias)
    if old.weight is not None and new.weight is not None:
        new.to(old.weight.dtype)
    *parents, name = path.split(".")
    owner: Any = model
    for parent in parents:
        owner = getattr(owner, parent)
    setattr(owner, name, new.train(old.training))
    if hasattr(model, "num_classes"):
        model.num_classes = num_classes
    return model


def freeze(model: M, until: str | None = None) -> M:
    """Freeze the parameters of what stands before the module at the path `until`; without it, all but the head.

    A frozen parameter has no gradient and optimizers pass it by. Running statistics of batch norms still follow the
    batches in training mode; `model.layer1.eval()` stops those too. `model.requires_grad_(True)` thaws everything.

    >>> from kinone import models
    >>> net = freeze(models.resnet18(), until="layer3")
    >>> net.layer2.param("0.conv1.weight").requires_grad, net.layer3.param("0.conv1.weight").requires_grad
    (False, True)
    """
    stop = head_of(model)[0] if until is None else until
    modules = dict(model.named_modules())
    if not stop or stop not in modules:
        hint = f"such as {', '.join([path for path in modules if path][:6])}."
        raise ArgumentError("freeze", f"the path of a module of {type(model).__name__}", repr(stop), hint=hint)
    trained = {id(parameter) for parameter in modules[stop].parameters()}
    for path, module in modules.items():
        if path == stop:
            break
        for value in vars(module).values():
            if isinstance(value, Parameter) and id(value) not in trained:
                value.requires_grad = False
    return model


def load_pretrained(model: M, weights: Any, stem: str) -> M:
    """Load a file of weights into a model that may have other classes, or one input channel where the file has three.

    A head of other classes stays new. The `stem`, the first convolution, sums its weights over the three colours, so
    that a grey image gives what it would give as a coloured one. Both are told by a warning; anything else that does
    not fit is an error.
    """
    name, (head, layer) = model.title or type(model).__name__, head_of(model)
    loading: Any = model
    report: LoadReport = loading.load(weights, strict=False)
    differing = report.mismatched
    told: list[str] = []
    if new := [path for path in differing if path.startswith(f"{head}.")]:
        classes = differing[new[0]][0][0]
        told.append(f"its head {head} is new: the weights know {classes} classes, the model {layer.out_features}")
    is_grey = _is_grey(*differing.get(f"{stem}.weight", ((), ())))
    if is_grey:
        told.append(f"{stem} sees one channel, and sums the weights of the three colours")
    handled = {*new, *([f"{stem}.weight"] if is_grey else [])}
    rest = LoadReport(
        report.loaded, report.missing, report.unexpected, {k: v for k, v in differing.items() if k not in handled}
    )
    if not rest.is_complete:
        faults = rest.faults()
        got = f"{len(faults)} that do not fit:\n  " + "\n  ".join(faults) + "\n"
        raise StateError(name, f"weights of a {name} in {weights}", got)
    if is_grey:
        _take_grey(model, weights, stem)
    if told:
        warnings.warn(f"{name}: {'; '.join(told)}.", stacklevel=4)
    return model


def _is_grey(given: Shape, own: Shape) -> bool:
    return len(given) == len(own) == 4 and (given[1], own[1]) == (3, 1) and given[::2] == own[::2]


def _take_grey(model: Module, weights: Any, stem: str) -> None:
    layer: Any = dict(model.named_modules())[stem]
    config = layer.get_config()
    coloured: Any = type(layer).from_config({**config, "in_channels": 3})
    holder: Any = Module()
    owner = holder
    *parents, name = stem.split(".")
    for parent in parents:
        setattr(owner, parent, Module())
        owner = getattr(owner, parent)
    setattr(owner, name, coloured)
    holder.load(weights, strict=False)
    layer.weight.data = coloured.weight.data.sum(axis=1, keepdims=True).astype(layer.weight.dtype, copy=False)
