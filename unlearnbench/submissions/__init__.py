"""Records from others: read with suspicion, merged, compared, and computed again."""
