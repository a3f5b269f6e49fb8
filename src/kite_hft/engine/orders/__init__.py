"""Layer 5: the order process: its files, latches, facts and loop."""
