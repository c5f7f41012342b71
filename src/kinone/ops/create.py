"""Making tensors out of nothing."""
