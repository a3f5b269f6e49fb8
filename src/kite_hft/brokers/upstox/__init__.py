"""Layer 2: Upstox API v2/v3: websocket words, REST requests and answers, GTT, the sandbox's book."""
