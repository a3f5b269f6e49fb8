"""Layer 6: what every broker adapter has to promise, and the kit that asks for it."""
