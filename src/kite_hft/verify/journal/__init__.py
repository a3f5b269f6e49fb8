"""Layer 6, campaigns, cold: the journal on disk."""
