"""Layer 4: broker and exchange in one: orders against the moving book, and the trading day."""
