"""Layer 2, cold: the brokers' instrument lists, and the universes cut from them."""
