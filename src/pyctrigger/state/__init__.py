"""State that outlives a run: its locations, lock, journal, manifest, and cache of probed interpreters."""
