"""Layer 6, by hand, cold: starting a run, and telling one that trades what to do."""
