"""The verbs, a file each; `verb` says what each of them has."""
