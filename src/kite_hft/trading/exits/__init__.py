"""Layer 2: what protects and closes positions."""
