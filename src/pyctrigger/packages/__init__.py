"""Package managers: which files their packages own, and the text of their hooks."""
