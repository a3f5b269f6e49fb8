"""Layer 6, campaigns, cold: seeded days of the order path."""
