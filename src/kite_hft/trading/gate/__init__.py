"""Layer 2: may an intent become an order."""
