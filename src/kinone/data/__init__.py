"""Data sets, and how they are read, split and changed."""

from kinone.data.chestxray import ChestFilms
from kinone.data.dataset import Arrays, Dataset, Joined, Mapped, Subset, collate, random_split
from kinone.data.loader import DataLoader
from kinone.data.split import check_disjoint, stratified_split

__all__ = [
    "Arrays", "ChestFilms", "DataLoader", "Dataset", "Joined", "Mapped", "Subset", "check_disjoint", "collate",
    "random_split", "stratified_split",
]  # fmt: skip
