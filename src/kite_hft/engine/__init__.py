"""Layer 5: where names become processes."""
