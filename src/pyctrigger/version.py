"""The version of pyctrigger."""

VERSION = "0.1.0"
