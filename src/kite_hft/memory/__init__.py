"""Layer 1: shared memory and files; every segment has one writer."""
