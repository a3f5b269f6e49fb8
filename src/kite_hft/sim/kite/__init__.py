"""Layer 4: Kite Connect's REST API and frames over an exchange: pure, without a socket."""
