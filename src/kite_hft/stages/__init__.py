"""Layer 3: feed, compute, orders: pure step functions over records."""
