"""Layer 4: sources of market data: synthetic, recorded, played back."""
