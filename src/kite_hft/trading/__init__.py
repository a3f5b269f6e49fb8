"""Layer 2: what an order is and what it may do: instruments, life cycle, book, risk, throttle. Pure."""
