"""Permissions in a tree: who may read its sources and pycs, and who can replace them."""
