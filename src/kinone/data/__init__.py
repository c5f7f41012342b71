"""Data sets, and how they are read, split and changed."""

from kinone.data import transforms
from kinone.data.chestxray import ChestFilms
from kinone.data.dataset import Arrays, Dataset, Joined, Mapped, Subset, collate, pos_weight, random_split
from kinone.data.folder import ImageFolder
from kinone.data.loader import DataLoader
from kinone.data.module import ChestModule, DataModule
from kinone.data.named import DATASETS, module_of
from kinone.data.pictures import Pictures, cifar10, cifar100, digits, fashion_mnist, mnist
from kinone.data.split import check_disjoint, stratified_split
from kinone.data.table import Table
from kinone.data.text import TextWindows, read_text, split_text

__all__ = [
    "DATASETS", "Arrays", "ChestFilms", "ChestModule", "DataLoader", "DataModule", "Dataset", "ImageFolder", "Joined",
    "Mapped", "Pictures", "Subset", "Table", "TextWindows", "check_disjoint", "cifar10", "cifar100", "collate",
    "digits", "fashion_mnist", "mnist", "module_of", "pos_weight", "random_split", "read_text", "split_text",
    "stratified_split", "transforms",
]  # fmt: skip
