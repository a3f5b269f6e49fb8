"""Layer 6, campaigns, cold: rings and headers."""
