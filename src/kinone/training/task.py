"""What a configuration stands for: the network, its loss, its optimizer and schedule, and the films it learns."""

from dataclasses import dataclass
from typing import Any

from kinone import nn, optim, random
from kinone.data.module import ChestModule, Progress
from kinone.errors import ArgumentError, DataError
from kinone.kernels.environment import machine
from kinone.models import MODELS, LeNet
from kinone.nn.module import Module
from kinone.optim.optimizer import Optimizer
from kinone.training.config import RunConfig
from kinone.training.films import films_of

NETWORKS: dict[str, Any] = {**MODELS, "lenet": LeNet}


class Task:
    """Model, loss, optimizer, schedule and films of a run, new and with the bits that the configuration fixes."""

    def __init__(self, config: RunConfig, progress: Progress | None = None) -> None:
        self.config = config
        self.data: ChestModule = films_of(config, progress)
        films, size = self.data.sizes()["train"], config.loop.batch_size
        self.drops_last = films >= size
        self.batches = films // size if self.drops_last else 1
        self.steps = config.loop.epochs * self.batches
        if config.loop.max_steps:
            self.steps = min(self.steps, config.loop.max_steps)
        self.model = network(config, len(self.data.classes))
        weights = self.data.pos_weight() if config.loop.pos_weight == "balanced" else None
        self.loss = nn.BCEWithLogits(pos_weight=weights)
        self.optimizer = optimizer(config, self.model)
        self.schedule = schedule(config, self.optimizer, self.steps, self.batches)
        self.average = optim.WeightAverage(self.model, config.optimizer.ema) if config.optimizer.ema else None


def network(config: RunConfig, classes: int) -> Module:
    """The network with its first weights: drawn from the run's seed, or those of `machine.load_checkpoint`."""
    make, size = NETWORKS[config.model.name], config.data.image_size
    options: dict[str, Any] = {"num_classes": classes, "in_channels": 1}
    if config.model.name.startswith(("vit", "lenet")):
        options["image_size"] = size
    states = random.snapshot()
    random.seed(config.loop.seed)
    try:
        model = make(**options)
    finally:
        random.restore(states)
    model.title = config.model.name
    if path := config.machine.load_checkpoint:
        try:
            model.load(path, strict=False)
        except OSError as error:
            raise DataError("load-checkpoint", f"the file {path}", error.strerror or str(error)) from None
    return model


def optimizer(config: RunConfig, model: Module) -> Optimizer:
    """The optimizer of the model's parameters; Nesterov's momentum where it is SGD's."""
    own = config.optimizer
    options: dict[str, Any] = {"lr": own.lr, "weight_decay": own.weight_decay}
    if own.name in ("SGD", "RMSProp"):
        options["momentum"] = own.momentum
    if own.name == "SGD":
        options["nesterov"] = own.momentum > 0
    return getattr(optim, own.name)(model, **options)


def schedule(config: RunConfig, made: Optimizer, steps: int, batches: int) -> Any:
    """The schedule over so many steps, `batches` of them an epoch; None for a constant rate without a warm-up."""
    own, epochs = config.schedule, max(-(-steps // batches), 1)
    if own.warmup and own.name in ("onecycle", "plateau"):
        raise ArgumentError("schedule", f"warmup=0 with {own.name}", str(own.warmup))
    moves = any("momentum" in group or "betas" in group for group in made.param_groups)
    match own.name:
        case "onecycle":
            return optim.OneCycleLR(made, config.optimizer.lr, steps, cycle_momentum=moves)
        case "plateau":
            return optim.ReduceLROnPlateau(made, mode="max", factor=min(own.gamma, 0.99), patience=own.step_size)
        case "cosine":
            found: Any = optim.CosineAnnealingLR(made, T_max=max(steps - own.warmup, 1))
        case "linear":
            found = optim.LinearLR(made, 1.0, 0.0, total_iters=max(steps - own.warmup, 1))
        case "step":
            found = optim.StepLR(made, step_size=min(own.step_size, epochs) * batches, gamma=own.gamma)
        case _:
            found = None
    if found is not None:
        found.every = "batch"
    if own.warmup:
        found = optim.WarmUp(made if found is None else found, own.warmup)
        found.every = "batch"
    return found


@dataclass(frozen=True)
class Forecast:
    """What a run will take: seconds, bytes of memory, and how many are free (0 where the system does not say)."""

    seconds: float
    memory: int
    available: int

    @property
    def is_too_much(self) -> bool:
        """Whether it will not fit."""
        return 0 < self.available < self.memory


def forecast(task: Task) -> Forecast:
    """From a step of the model at the size of a shard."""
    config = task.config
    films = task.data.sizes()
    shard = -(-min(config.loop.batch_size, films["train"]) // config.loop.shards)
    side, states = config.data.image_size, 2 if "dam" in config.optimizer.name else 1
    told = task.model.summary((shard, 1, side, side), optimizer_states=states).forecast
    evaluated = (films["train"] + films["validation"]) / films["train"]
    seconds = told.seconds * config.loop.shards * task.steps * (1 + (evaluated - 1) / 3)
    return Forecast(seconds, told.peak_bytes + memory(), machine()["available_bytes"] or 0)


def memory() -> int:
    """Bytes of main memory that this process has now; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * 4096
    except (OSError, ValueError, IndexError):
        return 0
