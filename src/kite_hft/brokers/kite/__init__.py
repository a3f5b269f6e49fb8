"""Layer 2: Zerodha Kite Connect v3: websocket wire, REST requests and answers, limits."""
