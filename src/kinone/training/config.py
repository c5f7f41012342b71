"""What a run is made from: frozen values in sections, read from TOML, flags and `section.key=value`, written as TOML.

All but the section [machine] decides bits and stands in the first line of the ledger; [machine] decides where and how
fast alone.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Any

from kinone.data.module import SPLITS
from kinone.errors import ArgumentError, DataError, nearest
from kinone.models import MODELS

FORMAT = "kinone.run.v1"
WHERE = "configuration"
DATASETS = ("demo", "nih")
OPTIMIZERS = ("SGD", "Adam", "AdamW", "NAdam", "RMSProp", "Adagrad", "Lion")
SCHEDULES = ("constant", "onecycle", "cosine", "linear", "step", "plateau")


def setting(default: Any, text: str, *, least: float | None = None, most: float | None = None,
            choices: Sequence[str] = ()) -> Any:  # fmt: skip
    """A field, what it means, and what it may be."""
    return field(default=default, metadata={"text": text, "least": least, "most": most, "choices": tuple(choices)})


@dataclass(frozen=True)
class _Section:
    def __post_init__(self) -> None:
        for own in fields(self):
            object.__setattr__(self, own.name, _checked(own, getattr(self, own.name), f"{_title(self)}.{own.name}"))


@dataclass(frozen=True)
class DataConfig(_Section):
    """Which films, and how they are shown to the model."""

    dataset: str = setting("demo", "the data set", choices=DATASETS)
    patients: int = setting(700, "patients of the demo data", least=10)
    image_size: int = setting(64, "films are shrunk to so many pixels a side", least=8, most=2048)
    limit: int = setting(0, "at most so many films of each part; 0: all", least=0)
    split: str = setting("auto", "parts: NIH's lists (official), patients dealt out (stratified), or what there is",
                         choices=SPLITS)  # fmt: skip
    test_share: float = setting(0.2, "share of the patients who are tested, where no list says who", least=0.01,
                                most=0.9)  # fmt: skip
    validation_share: float = setting(0.1, "share of the other patients who are held out", least=0.01, most=0.9)
    has_no_finding: bool = setting(False, "whether 'No Finding' is a class of its own")
    is_partial: bool = setting(False, "whether films of the table may be missing: those that are there are taken")
    most_broken: int = setting(20, "so many unreadable films are replaced; more stop the run", least=0)
    rotate: float = setting(5.0, "films are turned by up to so many degrees each way", least=0.0, most=180.0)
    shift: float = setting(0.05, "moved by up to this share of their sides", least=0.0, most=0.5)
    zoom: float = setting(0.05, "made larger or smaller by up to this share", least=0.0, most=0.5)
    brightness: float = setting(0.08, "made brighter or darker by up to this much (black is 0, white 1)", least=0.0,
                                most=1.0)  # fmt: skip
    contrast: float = setting(0.15, "given more or less contrast by up to this share", least=0.0, most=1.0)
    flip: bool = setting(False, "mirrored, every other one")
    mean: float = setting(0.5, "and then taken off each pixel (0 to 1)")
    std: float = setting(0.25, "by which pixels are divided", least=1e-6)


@dataclass(frozen=True)
class ModelConfig(_Section):
    """Which network."""

    name: str = setting("resnet18", "the network", choices=(*MODELS, "lenet"))


@dataclass(frozen=True)
class OptimizerConfig(_Section):
    """How gradients become steps."""

    name: str = setting("AdamW", "the optimizer", choices=OPTIMIZERS)
    lr: float = setting(1e-3, "learning rate (of a schedule, the highest)", least=0.0)
    weight_decay: float = setting(0.01, "weight decay", least=0.0)
    momentum: float = setting(0.9, "momentum of SGD and RMSProp", least=0.0, most=1.0)
    clip_norm: float = setting(0.0, "gradients longer than this are shortened; 0: never", least=0.0)
    ema: float = setting(0.0, "decay of averaged weights, which are then the ones evaluated; 0: none", least=0.0,
                         most=1.0)  # fmt: skip


@dataclass(frozen=True)
class ScheduleConfig(_Section):
    """How the rate changes."""

    name: str = setting("onecycle", "the schedule", choices=SCHEDULES)
    warmup: int = setting(0, "steps of a linear warm-up, which onecycle and plateau have no use for", least=0)
    step_size: int = setting(10, "epochs after which 'step' and (without progress) 'plateau' lower the rate", least=1)
    gamma: float = setting(0.1, "by what factor they do", least=0.0, most=1.0)


@dataclass(frozen=True)
class LoopConfig(_Section):
    """How long, in what portions, and what is kept."""

    epochs: int = setting(12, "epochs", least=1)
    batch_size: int = setting(32, "films in a step", least=1)
    shards: int = setting(1, "parts of a batch whose gradients are taken one by one: workers of a step", least=1)
    max_steps: int = setting(0, "end after so many steps; 0: do not", least=0)
    overfit_batches: int = setting(0, "learn so many batches by heart, to see that a model can; 0: do not", least=0)
    pos_weight: str = setting("none", "weight of positive labels: 1, or negatives per positive",
                              choices=("none", "balanced"))  # fmt: skip
    patience: int = setting(0, "epochs without a better validation AUC after which the run ends; 0: never", least=0)
    seed: int = setting(0, "of everything random", least=0)
    digest_every: int = setting(100, "steps between digests of all weights in the ledger", least=1)
    checkpoint_every: int = setting(500, "steps between checkpoints, besides those after each epoch", least=1)


@dataclass(frozen=True)
class MachineConfig(_Section):
    """Where things lie and how they are computed: nothing here changes a bit of the result."""

    folder: str = setting("", "the data set's folder; empty: data/<dataset>")
    image_dir: str = setting("", "films that lie elsewhere")
    csv_file: str = setting("", "a table that lies elsewhere")
    cache: str = setting("", "where shrunk films are kept; empty: in the data set's folder")
    load_checkpoint: str = setting("", "weights to begin with; their digest is in the ledger")
    threads: int = setting(0, "threads of the kernels; 0: one for each core", least=0, most=1024)
    workers: int = setting(0, "processes that prepare batches", least=0)
    prefetch: int = setting(2, "batches that each of them is ahead", least=1)
    keep: int = setting(2, "checkpoints that stay besides the best; 0: all", least=0)
    anomaly: bool = setting(False, "stop at the first NaN and say which operator made it (slow)")


@dataclass(frozen=True)
class RunConfig:
    """All of it.

    >>> RunConfig().loop.epochs, RunConfig.of([{"loop": {"epochs": 3}}]).loop.epochs
    (12, 3)
    """

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    machine: MachineConfig = field(default_factory=MachineConfig)

    def __post_init__(self) -> None:
        if self.loop.shards > self.loop.batch_size:
            got = f"{self.loop.shards} of batches of {self.loop.batch_size}"
            raise ArgumentError(WHERE, "loop.shards, at most one for each film of a batch", got)

    @classmethod
    def of(cls, layers: Iterable[Mapping[str, Any]]) -> "RunConfig":
        """Defaults, those of the data set, then each layer {section: {key: value}} over what stands before."""
        given = list(layers)
        dataset = next((d for layer in reversed(given) if (d := layer.get("data", {}).get("dataset"))), "demo")
        found = cls()
        for layer in [PRESETS.get(dataset, {}), *given]:
            found = found.changed(layer)
        return found

    def changed(self, layer: Mapping[str, Any]) -> "RunConfig":
        """With other values; keys that nobody knows are refused with the nearest that is known."""
        sections: dict[str, Any] = {}
        for name, values in layer.items():
            own = _known(name, [f.name for f in fields(self)], "")
            if not isinstance(values, Mapping):
                raise ArgumentError(WHERE, f"a section [{name}]", repr(values))
            section = getattr(self, own)
            names = [f.name for f in fields(section)]
            sections[own] = replace(section, **{_known(key, names, f"{own}."): value for key, value in values.items()})
        return replace(self, **sections)

    def recorded(self) -> dict[str, Any]:
        """What the ledger holds: whatever decides bits."""
        return {name: values for name, values in asdict(self).items() if name != "machine"}

    def differences(self, other: "RunConfig") -> list[str]:
        """Keys of `recorded` in which the two differ, as `section.key`."""
        a, b = self.recorded(), other.recorded()
        return [f"{s}.{key}" for s in a for key in a[s] if a[s][key] != b[s][key]]


PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "nih": {"data": {"image_size": 224}, "loop": {"epochs": 30}, "machine": {"workers": 1}},
}
"""What is different by default for a data set."""


def _title(section: Any) -> str:
    return type(section).__name__.removesuffix("Config").lower()


def _known(name: str, names: list[str], prefix: str) -> str:
    if name in names:
        return name
    close = get_close_matches(name, names, n=1) or get_close_matches(name.replace("-", "_"), names, n=1)
    hint = f"did you mean {prefix}{close[0]}?" if close else f"there are {', '.join(names)}."
    raise ArgumentError(WHERE, f"a key of {prefix.rstrip('.') or 'the sections'}", repr(f"{prefix}{name}"), hint=hint)


def _checked(own: Field[Any], value: Any, where: str) -> Any:
    default, meta = own.default, own.metadata
    kind = type(default)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind or (kind is float and not isfinite(value)):
        words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[kind]
        raise ArgumentError(WHERE, f"{where}, {words}", repr(value))
    choices = meta["choices"]
    if choices and value not in choices:
        hint = nearest(str(value), choices)
        raise ArgumentError(WHERE, f"{where}, one of {', '.join(choices)}", repr(value), hint=hint)
    least, most = meta["least"], meta["most"]
    if (least is not None and value < least) or (most is not None and value > most):
        span = f"at least {least:g}" if most is None else f"from {least:g} to {most:g}"
        raise ArgumentError(WHERE, f"{where}, {span}", repr(value))
    return value


# ------------------------------------------------------------------------------ TOML
def read_config(path: str | Path) -> dict[str, Any]:
    """The sections in a TOML file, to be a layer of `RunConfig.of`."""
    path = Path(path)
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(WHERE, f"the file {path}", error.strerror or str(error)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ArgumentError(WHERE, f"TOML in {path}", str(error)) from None
    kind = found.pop("format", FORMAT)
    if kind != FORMAT:
        raise ArgumentError(
            WHERE, f"format {FORMAT!r} in {path}", repr(kind), hint="another version of Kinone wrote it."
        )
    return found


def as_toml(config: RunConfig) -> str:
    """Everything, with what it means; `read_config` reads it.

    >>> as_toml(RunConfig()).splitlines()[:3]
    ['format = "kinone.run.v1"', '', '[data]']
    """
    lines = [f'format = "{FORMAT}"']
    for part in fields(config):
        section = getattr(config, part.name)
        lines += ["", f"[{part.name}]"]
        pairs = [(f"{own.name} = {_toml(getattr(section, own.name))}", own) for own in fields(section)]
        width = max(len(text) for text, _ in pairs)
        lines += [f"{text.ljust(min(width, 36))}  # {own.metadata['text']}" for text, own in pairs]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda m: f"\\u{ord(m[0]):04x}", escaped) + '"'
    return repr(value)


def assignment(text: str) -> dict[str, Any]:
    """A layer from `section.key=value`.

    >>> assignment("optimizer.lr=3e-4"), assignment("data.dataset=nih")
    ({'optimizer': {'lr': 0.0003}}, {'data': {'dataset': 'nih'}})
    """
    match = re.fullmatch(r"\s*([\w-]+)\.([\w-]+)\s*=\s*(.*?)\s*", text, re.DOTALL)
    if not match:
        raise ArgumentError(WHERE, "section.key=value", repr(text), hint="such as optimizer.lr=0.001")
    section, key, value = match.groups()
    try:
        read: Any = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        read = value  # text without quotes
    return {section: {key: read}}


def flag(name: str) -> Field[Any]:
    """The field that `section.key` names."""
    section, key = name.split(".")
    kind = next(f for f in fields(RunConfig) if f.name == section).default_factory
    assert kind is not MISSING
    return next(f for f in fields(kind()) if f.name == key)
