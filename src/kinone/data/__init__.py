"""Data sets, and how they are read, split and changed."""
