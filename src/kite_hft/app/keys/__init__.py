"""Verbs about keys and tokens: the vault, the daily login."""
