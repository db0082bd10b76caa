"""One task, one artifact: train, unlearn, shadows, attack (in a process of its own) with scoring, timing."""
