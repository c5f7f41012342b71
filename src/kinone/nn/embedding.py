"""Rows of a table, by their numbers."""

from typing import Any

import numpy as np

from kinone.core.tensor import as_array
from kinone.errors import ArgumentError, AxisError, DtypeError, ShapeError
from kinone.nn.layer import Layer, as_is, count
from kinone.nn.parameter import Parameter
from kinone.ops import embedding
from kinone.random import stream


class Embedding(Layer):
    """y = weight[indices]: indices (…) of words → (…, embedding_dim); weight (num_embeddings, embedding_dim).

    The row `padding_idx` begins as zeros and gets no gradient. First values are drawn from N(0, 1).

    >>> Embedding(10, 3, padding_idx=0)([[1, 0]]).shape
    (1, 2, 3)
    """

    weight: Parameter

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None) -> None:
        self.num_embeddings = count("Embedding", "num_embeddings", num_embeddings)
        self.embedding_dim = count("Embedding", "embedding_dim", embedding_dim)
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            expected = f"padding_idx from {-num_embeddings} to {num_embeddings - 1}"
            raise ArgumentError("Embedding", expected, f"padding_idx={padding_idx}")
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        values = stream("init").normal((num_embeddings, embedding_dim))
        if self.padding_idx is not None:
            values[self.padding_idx] = 0
        self.weight = Parameter(values)

    @classmethod
    def from_pretrained(cls, embeddings: Any, freeze: bool = True, padding_idx: int | None = None) -> "Embedding":
        """A layer with these rows, which do not learn unless freeze=False.

        >>> Embedding.from_pretrained([[1.0, 2.0], [3.0, 4.0]])([1])
        Tensor([[3., 4.]], dtype=float32)
        """
        values = as_array(embeddings)
        if values.ndim != 2:
            raise ShapeError("Embedding", "embeddings of shape (words, features)", f"shape {values.shape}")
        layer = cls(*values.shape, padding_idx=padding_idx)
        layer.weight = Parameter(values, requires_grad=not freeze)
        return layer

    def forward(self, indices: Any) -> Any:
        given = as_array(indices)
        if given.dtype.kind not in "iu" and given.size:
            raise DtypeError("Embedding", "indices of an integer dtype", str(given.dtype))
        if given.size and (given.min() < 0 or given.max() >= self.num_embeddings):
            worst = given.max() if given.max() >= self.num_embeddings else given.min()
            where = np.argwhere(given == worst)[0].tolist()
            expected = f"indices from 0 to {self.num_embeddings - 1}"
            raise AxisError("Embedding", expected, f"{worst} at {where} of shape {given.shape}")
        return embedding(as_is(indices), self.weight, padding_idx=self.padding_idx)
