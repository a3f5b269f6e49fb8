"""Layer 6, campaigns, cold: certificates, formats, mixed builds, secrets: what must not get in or out."""
