"""Layer 2: pure functions over ticks: filters, bars, indicators. No I/O, no clock, no shared memory."""
