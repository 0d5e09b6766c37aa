"""Who only looks: what bytecode costs, what packages hold, whose a pyc is, what was done. Nothing here ever writes."""
