"""CRC-32, for names that tell things apart: `zlib` has it, but not every Python has `zlib`, and hashlib costs 5 ms."""

from __future__ import annotations


def crc32(data: bytes) -> int:
    """The checksum of some bytes, as `zlib.crc32` gives it (ISO 3309)."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        value = value >> 4 ^ _TABLE[value & 15]
        value = value >> 4 ^ _TABLE[value & 15]
    return value ^ 0xFFFFFFFF


def _shifted(value: int, bits: int) -> int:
    for _ in range(bits):
        value = value >> 1 ^ (0xEDB88320 if value & 1 else 0)
    return value


#: For four bits at a time: what is summed up here are a hundred bytes, and building more would take longer.
_TABLE = [_shifted(value, 4) for value in range(16)]
