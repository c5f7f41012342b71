"""Kernels of the family `recurrent`."""
