"""Master password, vault, and what a run takes out of it."""
