"""Classification: what its numbers mean, how they are calibrated, balanced, mixed and shown."""
