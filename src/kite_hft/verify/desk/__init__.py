"""Layer 6, campaigns, cold: the order stage before a simulated broker: what other campaigns stand on."""
