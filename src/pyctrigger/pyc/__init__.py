"""What a pyc is: its header and its name."""
