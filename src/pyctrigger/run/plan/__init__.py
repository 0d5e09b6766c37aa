"""What a tree needs, found by reading only."""
