"""One transaction: what was touched, what has to be done, and what became of it."""
