"""The films that a configuration asks for."""

from pathlib import Path

from kinone.data.demo import DemoSpec
from kinone.data.module import ChestModule, Progress, film_transforms
from kinone.data.transforms import Normalize
from kinone.errors import ArgumentError, DataError
from kinone.training.config import RunConfig


def films_of(config: RunConfig, progress: Progress | None = None) -> ChestModule:
    """The module of films that a run learns, set up; the demo films are made if they are not there."""
    data, loop, machine = config.data, config.loop, config.machine
    folder = Path(machine.folder or f"data/{data.dataset}")
    demo = None
    if data.dataset == "demo":
        if machine.image_dir or machine.csv_file:
            hint = "--dataset nih reads a table and films of your own."
            raise ArgumentError(
                "data", "the demo data in a folder of their own", "--image-dir or --csv-file", hint=hint
            )
        demo = DemoSpec(patients=data.patients, size=2 * max(data.image_size, 32))
    elif not folder.is_dir() and not (machine.image_dir and machine.csv_file):
        hint = "kinone download nih fetches them; --dir names another folder, or --image-dir and --csv-file."
        raise DataError("data", f"the folder {folder} with the films of {data.dataset}", "no such folder", hint=hint)
    if machine.csv_file and not Path(machine.csv_file).is_file():
        raise DataError("data", "a file as --csv-file", f"none at {machine.csv_file}")
    place = folder if folder.is_dir() or demo else Path(machine.csv_file).parent
    found = ChestModule(
        folder, demo=demo, size=data.image_size, split=data.split, validation_share=data.validation_share,
        test_share=data.test_share, split_seed=loop.seed, has_no_finding=data.has_no_finding,
        is_partial=data.is_partial, most_broken=data.most_broken, limit=data.limit or None,
        table=machine.csv_file or None, images=machine.image_dir or None, cache=machine.cache or place / "cache",
        batch_size=loop.batch_size, seed=loop.seed, workers=machine.workers, prefetch=machine.prefetch,
        transform=film_transforms(
            rotate=data.rotate, shift=data.shift, zoom=data.zoom, brightness=data.brightness, contrast=data.contrast,
            flip=data.flip, mean=data.mean, std=data.std,
        ),
        test_transform=Normalize(data.mean, data.std),
    )  # fmt: skip
    found.setup(progress)
    if loop.overfit_batches:
        found.learn_by_heart(loop.overfit_batches * loop.batch_size)
    return found
