"""Layer 4: the order path under faults, in one process, from one seed."""
