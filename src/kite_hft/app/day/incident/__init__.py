"""`kite-hft incident`: what happened around a time, frozen for a broker's ticket."""
