"""The workers: child processes of the target interpreter that turn sources into bytecode."""
