"""A foreign root's package databases: a child without rights reads them, and what it answers is checked."""
