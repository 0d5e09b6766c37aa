"""The target: the interpreter whose bytecode is written, never the one that runs pyctrigger."""
