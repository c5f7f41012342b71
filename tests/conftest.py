"""Set-up that every test shares."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# The same examples in every run, everywhere: a red test is red for everyone. `--hypothesis-profile=explore`
# draws new ones. No deadline in either, since a loaded machine is not a failure.
settings.register_profile("dev", derandomize=True, deadline=None)
settings.register_profile("explore", derandomize=False, deadline=None, max_examples=1000)
settings.load_profile("dev")


@pytest.fixture(scope="session")
def run_films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The films of all small runs (`runs.small`), not to be changed."""
    from runs import films  # what it needs is an extra, which tests without runs do without

    return films(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def whole_run(run_films: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small run that nobody interrupted, not to be changed."""
    from kinone.training.session import begin
    from runs import small

    return begin(small(run_films), tmp_path_factory.mktemp("runs") / "whole").run
