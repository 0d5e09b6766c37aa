"""The target interpreter, whose bytecode is written; never the one that runs pyctrigger."""
