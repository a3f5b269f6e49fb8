"""The load harness behind benchmarks/load_test.py: generator, rig, readings, search, tables."""
