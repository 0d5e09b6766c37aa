"""The version of pyctrigger."""

VERSION = "0.2.0"
