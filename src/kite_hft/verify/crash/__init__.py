"""Layer 6, campaigns, cold: processes that die."""
