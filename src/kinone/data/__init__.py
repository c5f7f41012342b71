"""Data sets, and how they are read, split and changed."""

from kinone.data.dataset import Arrays, Dataset, Joined, Mapped, Subset, collate, random_split
from kinone.data.loader import DataLoader

__all__ = ["Arrays", "DataLoader", "Dataset", "Joined", "Mapped", "Subset", "collate", "random_split"]
