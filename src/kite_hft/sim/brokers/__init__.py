"""Layer 4: each broker as campaigns need him: adapter, simulator in process, and how his wire is read."""
