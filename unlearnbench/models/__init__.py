"""Architectures, K copies of them in a stack, their noise and optimisers."""
