"""Layer 2: order calls on their way out, and what is told of them."""
