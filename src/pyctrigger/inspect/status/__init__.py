"""How the system stands: health checks, the doctor, and what an upgrade would cost."""
