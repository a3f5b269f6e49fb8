"""Layer 6, by hand, cold: looking at a run that trades or has ended; nothing is disturbed by it."""
