"""Layer 5: daily history from the brokers, kept in files, and what is worked out of it."""
