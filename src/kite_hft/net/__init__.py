"""Layer 3: the only sockets of the engine."""
