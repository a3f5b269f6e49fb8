"""Layer 5: the market processes: feeds, workers, the recorder."""
