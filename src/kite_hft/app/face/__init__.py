"""What `from kite_hft import ...` gives a Python program: prices, login, limits, configuration."""
