"""The state of the system: health checks, the doctor, and what an upgrade would cost."""
