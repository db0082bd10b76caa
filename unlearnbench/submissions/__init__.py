"""Records that others wrote: read with suspicion, merged, compared, computed again."""
