"""Layer 6, campaigns, cold: alerts and their sinks."""
