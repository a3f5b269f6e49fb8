"""kite_hft: a trading engine for Zerodha Kite Connect and Upstox."""
