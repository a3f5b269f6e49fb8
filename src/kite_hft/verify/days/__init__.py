"""Layer 6, campaigns, cold: trading days by their dated rules."""
