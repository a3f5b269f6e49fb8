"""`kite-hft end-of-day`: the books squared, what is known of the day kept."""
