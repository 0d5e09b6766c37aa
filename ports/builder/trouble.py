"""What can keep a package from being built."""


class BuildError(Exception):
    """What is missing or wrong, with a hint."""
