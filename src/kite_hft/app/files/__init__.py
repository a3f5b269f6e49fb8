"""Layer 6, by hand, cold: what a run has written, printed or converted."""
