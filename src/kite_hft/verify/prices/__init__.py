"""Layer 6, campaigns, cold: the way of a tick."""
