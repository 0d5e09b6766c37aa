"""Formats of pycs: header, magic number, name, and source hash."""
