"""What was learned about a tree: records of pycs, and notes of what needed nothing; hints, never an authority."""
