"""Layer 5: what a run is made of, before anything is started."""
