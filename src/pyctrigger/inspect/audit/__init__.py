"""Bytecode inside packages that aren't installed: read in place, header by header, never unpacked and never run."""
