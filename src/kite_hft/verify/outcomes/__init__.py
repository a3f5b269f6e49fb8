"""Layer 6, campaigns, cold: answers, books and prices that prove nothing."""
