"""Layer 4: faults by file: which there are, when they come, what they do, and their log."""
