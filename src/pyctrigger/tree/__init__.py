"""The tree that is worked on: descriptors instead of paths, no link followed, whole writes, proven removals."""
