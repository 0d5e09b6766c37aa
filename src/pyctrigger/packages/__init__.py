"""What the package managers know: today, which bytecode is theirs."""
