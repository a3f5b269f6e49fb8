"""`kite-hft doctor`: is this machine ready, checks with their fixes."""
