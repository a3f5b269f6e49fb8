"""Before, beside and after the day: what is ready, what the morning says, what an incident leaves."""
