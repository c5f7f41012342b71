"""zkynet's walk-through, in Kinone: f(x, w) = (x + w)·x², called, looked at, differentiated, drawn.

python examples/zkynet_walk_through.py
"""

from typing import Any

import numpy as np

import kinone as kn
from kinone import nn


class SimpleModel(nn.Module):
    """f(x) = (x + w)·x², x an input and w a parameter."""

    def __init__(self, w0: float = 1.0) -> None:
        self.w = nn.Parameter(w0)

    def forward(self, x: Any) -> Any:
        a = x + self.w
        b = kn.square(x)
        return a * b


def main(short: bool = False) -> dict[str, float]:
    """Go through it, and answer the value and the gradients at x = 3."""
    m = SimpleModel()

    # Forward: a recording is one call of the model, with the graph that it left.
    result = kn.record(m, 3)
    print("f(3) =", result.value)  # 36
    print(result.table())

    # Each call is independent, and has a number of its own.
    first, second = kn.record(m, 3), kn.record(m, 3)
    assert first != second
    assert first.id != second.id

    # A vector goes through as well.
    print("f([3, 4, 5]) =", kn.record(m, np.array([3, 4, 5], np.float32)).value)  # 36, 80, 150

    # Back: gradients collect in the recording, and are asked for by parameter, by input, or by name.
    result.back()
    w, x = result.grad(m.param("w")), result.grad(m.input("x"))
    print("∂f/∂w =", w, " ∂f/∂x =", x)  # x² = 9, 3x² + 2wx = 33

    # The same function without a class; and the same model without a recording, as one would train it.
    assert kn.record(nn.Module.build(lambda x, w: (x + w) * x * x, w=1.0), 3).value == result.value
    m(3.0).backward()
    print("and so does m.w.grad:", m.w.grad)

    result.draw("zkynet.svg")
    return {"value": result.value, "∂f/∂w": w, "∂f/∂x": x}


if __name__ == "__main__":
    main()
