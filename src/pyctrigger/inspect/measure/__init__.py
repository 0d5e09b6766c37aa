"""What stale bytecode costs at start-up: fresh processes of a target, timed on private trees of bytecode."""
