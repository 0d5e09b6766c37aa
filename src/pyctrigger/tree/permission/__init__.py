"""Who may read what lies in a tree, and in whose hands its directories are."""
