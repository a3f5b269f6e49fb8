"""Layer 6, campaigns, cold: the whole engine."""
