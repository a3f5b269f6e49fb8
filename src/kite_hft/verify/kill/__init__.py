"""Layer 6, campaigns, cold: the kill latch."""
