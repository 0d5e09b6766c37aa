"""Code that the target runs: a file for each task, standard library only, Python 3.6 syntax, no imports of ours."""
