"""What became of files, installations and calls, as values; and who is told while it happens."""
