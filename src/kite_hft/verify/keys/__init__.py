"""Campaigns about the vault."""
