"""Runs small enough for tests: LeNet on a handful of films."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from kinone.data.demo import DemoSpec, make_demo
from kinone.training.config import RunConfig

ROOT = Path(__file__).resolve().parent.parent
SPEC = DemoSpec(patients=24, size=64)
SMALL: dict[str, dict[str, Any]] = {
    "data": {"patients": 24, "image_size": 16, "validation_share": 0.3, "shift": 0.1},
    "model": {"name": "lenet"},
    "loop": {"epochs": 3, "batch_size": 6, "digest_every": 3, "checkpoint_every": 4},
    "machine": {"threads": 1},
}


def films(folder: Path) -> Path:
    """The films of all these runs."""
    return make_demo(folder / "demo", SPEC)


def small(folder: Path, **sections: dict[str, Any]) -> RunConfig:
    """A configuration with those films, and what a test changes."""
    given = RunConfig.of([SMALL, sections])
    return replace(given, machine=replace(given.machine, folder=str(folder)))


def arguments(config: RunConfig) -> list[str]:
    """The same for the command line."""
    plain = RunConfig()
    found = []
    for section in ("data", "model", "optimizer", "schedule", "loop", "machine"):
        own, other = getattr(config, section), getattr(plain, section)
        found += [
            f"--set={section}.{name}={value}".replace("True", "true")
            for name, value in vars(own).items()
            if value != getattr(other, name)
        ]
    return found


def command(*words: str, **variables: str) -> "subprocess.Popen[str]":
    """`kinone …` in a process of its own."""
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
    environ = {**os.environ, "PYTHONPATH": path, "COLUMNS": "120", **variables}
    return subprocess.Popen([sys.executable, "-W", "ignore", "-m", "kinone.cli", *words], env=environ,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip


def finished(*words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """The same, to its end."""
    process = command(*words, **variables)
    out, err = process.communicate(timeout=120)
    return subprocess.CompletedProcess(words, process.returncode, out, err)
