"""Verbs that set an installation up: the configuration, the lists of instruments, the history."""
