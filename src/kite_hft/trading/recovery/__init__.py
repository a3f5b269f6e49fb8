"""Layer 2: the book rebuilt from the journal and kept true to the broker."""
