"""Splits that keep each patient whole and the findings in proportion.

A model that has seen a patient's first film recognises the second: a split by film tests memory. So groups (patients)
are dealt out whole, the rarest finding first, each group to the part that lacks most of it: Sechidis et al., "On the
stratification of multi-label data" (2011), with groups in place of samples.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.errors import ArgumentError, DataError, ShapeError
from kinone.random import Stream

Indices = NDArray[np.int64]


def stratified_split(
    labels: Any, groups: Any = None, shares: Sequence[float] = (0.7, 0.1, 0.2), seed: int = 0
) -> list[Indices]:
    """Indices of each part, ascending: no group in two parts, and of each label about `shares` of its samples in each.

    labels (N,) classes or (N, L) yes or no for each finding; groups (N,) whatever tells patients apart (by default,
    each sample is its own).

    >>> a, b = stratified_split(np.array([0, 0, 1, 1]), groups=["x", "x", "y", "y"], shares=(0.5, 0.5))
    >>> sorted([a.tolist(), b.tolist()])
    [[0, 1], [2, 3]]
    """
    table = _as_table(labels)
    names, group = np.unique(np.arange(len(table)) if groups is None else np.asarray(groups), return_inverse=True)
    if group.shape != (len(table),):
        raise ShapeError("stratified_split", f"{len(table)} groups, one for each sample", f"shape {group.shape}")
    if len(shares) < 1 or min(shares) < 0 or abs(sum(shares) - 1) > 1e-9:
        raise ArgumentError("stratified_split", "shares that add up to 1", repr(tuple(shares)))
    counts = np.zeros((len(names), table.shape[1] + 1))  # the last column: samples
    np.add.at(counts, group, np.column_stack([table, np.ones(len(table))]))
    part_of = _dealt(counts, np.asarray(shares, np.float64), Stream("split", seed).permutation(len(names)))
    return [np.flatnonzero(part_of[group] == part) for part in range(len(shares))]


def _as_table(labels: Any) -> NDArray[np.float64]:
    labels = np.asarray(labels)
    if labels.ndim == 1:
        return (labels[:, None] == np.unique(labels)).astype(np.float64)
    if labels.ndim != 2:
        raise ShapeError("stratified_split", "labels (N,) or (N, L)", f"shape {labels.shape}")
    if not np.isin(labels, (0, 1)).all():
        raise ArgumentError("stratified_split", "0 and 1 in a table of labels", "other values")
    return labels.astype(np.float64)


def _dealt(counts: Any, shares: Any, order: Any) -> Any:
    """The part of each group."""
    wanted = shares[:, None] * counts.sum(0)
    part_of = np.full(len(counts), -1)
    rank = np.empty(len(counts), np.int64)
    rank[order] = np.arange(len(counts))
    while (left := part_of < 0).any():
        holders = ((counts[:, :-1] > 0) & left[:, None]).sum(0)
        holders = np.where(holders > 0, holders, len(counts) + 1)
        label = int(holders.argmin()) if len(holders) and holders.min() <= len(counts) else -1  # −1: only samples left
        chosen = np.flatnonzero(left & (counts[:, label] > 0))
        # Those with most of it first, while there is most room to make up for them; among equals, by chance.
        for one in chosen[np.lexsort((rank[chosen], -counts[chosen, label]))]:
            part = _neediest(wanted, label, shares)
            part_of[one] = part
            wanted[part] -= counts[one]
    return part_of


def _neediest(wanted: Any, label: int, shares: Any) -> int:
    return max(range(len(shares)), key=lambda part: (shares[part] > 0, wanted[part, label], wanted[part, -1], -part))


def check_disjoint(groups: Any, parts: Mapping[str, Any]) -> None:
    """Refuse parts of a data set that share a patient, whoever made them.

    >>> check_disjoint(["p1", "p1", "p2"], {"train": [0, 1], "test": [2]})
    """
    groups = np.asarray(groups)
    seen: dict[Any, str] = {}
    for name, indices in parts.items():
        own = np.unique(groups[np.asarray(indices, np.int64)]).tolist()
        both = [patient for patient in own if patient in seen]
        if both:
            shown = ", ".join(map(str, both[:5])) + (", …" if len(both) > 5 else "")
            other = seen[both[0]]
            hint = "a model that has seen a patient is not tested on new ones: split by patient."
            what = f"no patient both in {other} and in {name}"
            raise DataError("split", what, f"{len(both)}: {shown}", hint=hint)
        seen.update(dict.fromkeys(own, name))
