"""Why the bytecode of a path is as it is, and where it comes from."""
