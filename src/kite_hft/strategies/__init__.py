"""Layer 2: the two strategy forms and one file per strategy."""
