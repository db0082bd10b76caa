"""Inference attacks: one file, one attack."""
