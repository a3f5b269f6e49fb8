"""Layer 4: the simulator's sockets, and what leaves through them at its time."""
