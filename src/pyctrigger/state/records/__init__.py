"""Records about a tree: its pycs, and the directories that needed no work. They are hints, and never trusted alone."""
