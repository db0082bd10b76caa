"""Unlearning methods: one file, one method."""
