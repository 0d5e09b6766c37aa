"""Workers: child processes of the target interpreter that compile sources to bytecode."""
