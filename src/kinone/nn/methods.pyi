"""What `kinone` puts on modules; tests/test_module.py holds it against what is there."""

from collections.abc import Sequence
from typing import Any

from kinone.nn.summary import Summary

class Methods:
    def summary(
        self,
        *inputs: Any,
        depth: int | None = None,
        columns: Sequence[str] = ...,
        batch_size: int | None = None,
        optimizer_states: int = 2,
        **named_inputs: Any,
    ) -> Summary: ...
