"""Paths that are URLs: local copies of what lies in a store, and results on their way to one."""
