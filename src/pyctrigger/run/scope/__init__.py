"""What is asked, of whom, and where."""
