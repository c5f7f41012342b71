"""Picking, placing and sorting elements."""
