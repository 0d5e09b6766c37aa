"""The hooks of a system: which there are, and installing and uninstalling those that call this program."""
