"""Layer 6: one file per proving campaign; `python -m kite_hft.verify NAME`."""
