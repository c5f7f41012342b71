"""Data sets, and how they are read, split and changed."""

from kinone.data import transforms
from kinone.data.chestxray import ChestFilms
from kinone.data.dataset import Arrays, Dataset, Joined, Mapped, Subset, collate, pos_weight, random_split
from kinone.data.loader import DataLoader
from kinone.data.module import ChestModule, DataModule
from kinone.data.split import check_disjoint, stratified_split

__all__ = [
    "Arrays", "ChestFilms", "ChestModule", "DataLoader", "DataModule", "Dataset", "Joined", "Mapped", "Subset",
    "check_disjoint", "collate", "pos_weight", "random_split", "stratified_split", "transforms",
]  # fmt: skip
