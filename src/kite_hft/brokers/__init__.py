"""Layer 2: one folder a broker, pure functions between its bytes and our records."""
