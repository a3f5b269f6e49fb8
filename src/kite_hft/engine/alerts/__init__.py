"""Layer 5: alerts on their way to a person, and what raises them."""
