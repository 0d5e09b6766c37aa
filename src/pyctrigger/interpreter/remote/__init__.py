"""What the target itself runs: one file a task, standard library only, Python 3.6 syntax, nothing of ours imported."""
