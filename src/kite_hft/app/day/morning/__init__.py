"""`kite-hft morning`: one screen before the day, GO, REDUCE-ONLY or NO-GO."""
