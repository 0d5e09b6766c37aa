"""What outlives a run: where it lives, the lock, the journal, the manifest, the interpreters probed before."""
