"""Layer 4: Upstox's protocols over the simulated exchange: feed V3, order updates, REST v2 and v3."""
