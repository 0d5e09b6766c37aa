"""Doing what a plan says: compile, refresh, sweep, and what became of it."""
