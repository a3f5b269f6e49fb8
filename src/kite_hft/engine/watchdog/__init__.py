"""Layer 5: the process that looks at the account from outside."""
