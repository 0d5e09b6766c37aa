"""Text, tables, colours and progress: what a person or a monitor reads."""
