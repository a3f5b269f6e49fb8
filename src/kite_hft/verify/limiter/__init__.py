"""Layer 6, campaigns, cold: the throttle."""
