"""Results for files, installations and calls, as values; and the observer of a run."""
