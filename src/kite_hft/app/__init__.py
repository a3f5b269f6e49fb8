"""Layer 6: faces for people."""
