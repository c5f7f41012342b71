"""Tensor, graph, operator, transforms, modes, random streams and checks: the evening's read."""
