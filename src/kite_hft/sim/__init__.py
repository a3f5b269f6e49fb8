"""Layer 4: the simulator: exchange, market, the broker's protocols, the in-process world."""
