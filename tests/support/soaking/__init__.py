"""The soak: random transactions of a model package manager, judged by the interpreters that import what is left."""
