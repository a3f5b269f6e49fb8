"""Layer 5: the ways by which a person is told. Each stands alone: one that fails is told by the others."""
