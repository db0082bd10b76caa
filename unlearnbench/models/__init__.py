"""Information-bottleneck models."""
