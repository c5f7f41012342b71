"""`kinone train`: a run from its configuration, or one that goes on."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.text import Text

from kinone.cli.display import Display
from kinone.cli.terminal import DIM, NAME, TITLE, WARN, console
from kinone.errors import ArgumentError, KinoneError
from kinone.nn.summary import amount
from kinone.training.config import RunConfig, as_toml, assignment, read_config
from kinone.training.progress import duration
from kinone.training.report import write_report
from kinone.training.session import begin, resume
from kinone.training.task import Task, forecast

Flag = Annotated[bool, Parameter(negative="", show_default=False)]
FLAGS = {
    "dataset": "data.dataset", "epochs": "loop.epochs", "batch_size": "loop.batch_size", "lr": "optimizer.lr",
    "seed": "loop.seed", "model": "model.name", "optimizer": "optimizer.name", "schedule": "schedule.name",
    "weight_decay": "optimizer.weight_decay", "clip_norm": "optimizer.clip_norm", "ema": "optimizer.ema",
    "pos_weight": "loop.pos_weight", "patience": "loop.patience", "image_size": "data.image_size",
    "limit": "data.limit", "shards": "loop.shards", "max_steps": "loop.max_steps",
    "overfit_batches": "loop.overfit_batches", "threads": "machine.threads", "workers": "machine.workers",
    "dir": "machine.folder", "image_dir": "machine.image_dir", "csv_file": "machine.csv_file",
    "load_checkpoint": "machine.load_checkpoint", "anomaly": "machine.anomaly",
}  # fmt: skip


def train(
    *, dataset: str | None = None, model: str | None = None, epochs: int | None = None, batch_size: int | None = None,
    lr: float | None = None, optimizer: str | None = None, schedule: str | None = None,
    weight_decay: float | None = None, clip_norm: float | None = None, ema: float | None = None,
    pos_weight: str | None = None, patience: int | None = None, seed: int | None = None,
    image_size: int | None = None, limit: int | None = None, max_steps: int | None = None, shards: int | None = None,
    threads: int | None = None, workers: int | None = None, dir: Path | None = None, image_dir: Path | None = None,  # noqa: A002
    csv_file: Path | None = None, load_checkpoint: Path | None = None, run_dir: Path | None = None,
    resume: Path | None = None, config: Path | None = None,
    set: Annotated[list[str] | None, Parameter(negative="")] = None,  # noqa: A002
    print_config: Flag = False, dry_run: Flag = False, overfit_batches: int | None = None, anomaly: Flag = False,
) -> int:  # fmt: skip
    """Train a network on chest films and write a run that can be verified, replayed and evaluated.

    Without arguments: a ResNet-18 on synthetic films, made in a few seconds, in about a minute or two.

    For example:

        kinone train
        kinone train --dataset nih --dir data/nih --epochs 30 --batch-size 32 --lr 1e-3
        kinone train --resume runs/demo-1 --workers 2

    Parameters
    ----------
    dataset
        demo, or nih: NIH ChestX-ray14, or films of your own in its layout.
    model
        The network: resnet18 … resnet152, efficientnet_b0 … b7, vit_b_16, vit_b_32, lenet.
    epochs
        Passes over the training films.
    batch_size
        Films in a step.
    lr
        Learning rate; of a schedule, the highest.
    optimizer
        SGD, Adam, AdamW, NAdam, RMSProp, Adagrad or Lion.
    schedule
        constant, onecycle, cosine, linear, step or plateau.
    weight_decay
        Weight decay.
    clip_norm
        Gradients longer than this are shortened.
    ema
        Decay of averaged weights, which are then evaluated.
    pos_weight
        Weight of positive labels: none, or balanced (negatives per positive).
    patience
        Epochs without a better validation AUC after which the run ends.
    seed
        Of everything random.
    image_size
        Films are shrunk to so many pixels a side.
    limit
        At most so many films of each part.
    max_steps
        End after so many steps.
    shards
        Parts of a batch whose gradients are taken one by one.
    threads
        Threads of the kernels: the speed changes, no bit does.
    workers
        Processes that prepare batches; no bit changes.
    dir
        The data set's folder.
    image_dir
        Films that lie elsewhere.
    csv_file
        A table that lies elsewhere.
    load_checkpoint
        Weights to begin with.
    run_dir
        The new run's folder; by default runs/demo-1, -2, …
    resume
        A run to go on with; only what changes no bit may be different.
    config
        A TOML file with settings; flags go before it.
    set
        One more setting, as section.key=value; may be repeated.
    print_config
        Print the whole configuration as TOML and do nothing.
    dry_run
        Open the films, say what the run would take, and write no run.
    overfit_batches
        Learn so many batches by heart, to see that the model can.
    anomaly
        Stop at the first NaN and name the operator that made it.
    """
    given = {
        name: value for name, value in locals().items() if name in FLAGS and value is not None and value is not False
    }
    layers: list[dict[str, Any]] = [] if config is None else [read_config(config)]
    layers += [assignment(text) for text in set or []]
    for name, value in given.items():
        section, key = FLAGS[name].split(".")
        layers.append({section: {key: str(value) if isinstance(value, Path) else value}})
    if resume is not None:
        if run_dir is not None or dry_run or print_config:
            raise ArgumentError("kinone train", "--resume alone", "--run-dir, --dry-run or --print-config beside it")
        return _resumed(resume, layers)
    made = RunConfig.of(layers)
    if print_config:
        print(as_toml(made), end="")
        return 0
    out = console()
    with Display(out) as display:
        task = Task(made, display.preparing)
        _describe(out, task)
        if dry_run:
            return 0
        return _ended(out, display, begin(made, run_dir, watchers=(display,), task=task))


def _resumed(folder: Path, layers: list[dict[str, Any]]) -> int:
    out = console()
    with Display(out) as display:
        found = resume(folder, layers=tuple(layers), watchers=(display,), progress=display.preparing)
        return _ended(out, display, found)


def _describe(out: Any, task: Task) -> None:
    config, films = task.config, task.data
    sizes = ", ".join(f"{count:,} for {name}" for name, count in films.sizes().items())
    size = config.data.image_size
    out.print(
        Text(config.data.dataset, NAME) + Text(f": films of {size}×{size}, {sizes}; {len(films.classes)} findings")
    )
    if replaced := films.replaced():
        shown = ", ".join(f"{r['sample']} ({r['why']})" for r in replaced[:3])
        out.print(Text(f"{len(replaced)} films cannot be read and are replaced: {shown}", DIM))
    count = sum(p.size for p in task.model.parameters())
    out.print(
        Text(config.model.name, NAME) + Text(f": {count:,} parameters, {config.optimizer.name}, {task.steps:,} steps")
    )
    told = forecast(task)
    out.print(Text(f"forecast: about {duration(told.seconds)} and {amount(told.memory, 'B')}", DIM))
    if told.is_too_much:
        out.print(
            Text(
                f"only {amount(told.available, 'B')} of memory are free: a smaller --batch-size, or --shards", "yellow"
            )
        )
    out.print()


def _ended(out: Any, display: Display, outcome: Any) -> int:
    path = outcome.run.path
    if outcome.why:
        out.print(Text(f"\nended by {outcome.why} after step {outcome.loop.step}; it is saved", TITLE))
        out.print(f"  kinone train --resume {path}     goes on with the same bits")
        return {"Ctrl-C": 130, "SIGTERM": 143}.get(outcome.why, 0)
    try:
        out.print(Text(f"\nreport: {write_report(path, progress=display.preparing)}", TITLE))
    except KinoneError as error:  # the run is whole without it
        out.print(Text(f"\nno report: {error}", WARN))
    out.print(f"\n[bold]{path}[/] holds the run. What to do with it:")
    films = outcome.loop.task.data
    film = films.films.paths[films.indices["test"][0]]
    places = {"run": path, "film": film, "last": min(outcome.loop.step, 5)}
    commands = [(f"  kinone {command.format(**places)}", what) for command, what in _NEXT]
    width = max(len(command) for command, _ in commands) + 2
    for command, what in commands:
        out.print(command.ljust(width) + what, style=None, markup=False, soft_wrap=True)
    return 0


_NEXT = (
    ("evaluate {run}", "areas with intervals, finding by finding"),
    ("predict {run} {film}", "what it says of a film"),
    ("verify {run}", "checks its ledger and checkpoints"),
    ("replay {run} --steps 1:{last}", "computes steps again, bit for bit"),
    ("diff {run} OTHER", "names the first step in which two runs part"),
)
