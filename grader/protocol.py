"""What crosses between the judge and a worker: frames of one JSON header and safetensors bytes.

A frame is MAGIC, the length of the header (u32), the length of the payload (u64), the header (JSON,
UTF-8) and the payload (safetensors, may be empty). Lengths are checked before anything is read or
allocated, and the arrays' names and dtypes before they are used. Nothing is ever unpickled, so bytes
from a hostile worker can be wrong, but they cannot run.
"""

import json
import os
import struct

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

MAGIC = b"GPTW"
PREFIX = struct.Struct("<4sIQ")
MAX_HEADER = 4 << 20  # bytes of JSON
MAX_PAYLOAD = 512 << 20  # bytes of tensors
DTYPES = frozenset({"float64", "float32", "int64", "int32", "uint8", "bool"})


class ProtocolError(Exception):
    """The other side sent something that is not a frame, or is over the limits."""


def pack(header: dict, arrays: dict[str, np.ndarray] | None = None) -> bytes:
    """One frame, ready to be written."""
    text = json.dumps(header).encode()
    payload = save_arrays(arrays) if arrays else b""
    return PREFIX.pack(MAGIC, len(text), len(payload)) + text + payload


def read_frame(fd: int) -> tuple[dict, dict[str, np.ndarray]]:
    """The next frame: its header and its arrays. EOFError where the stream ends, else ProtocolError."""
    magic, header_length, payload_length = PREFIX.unpack(_read(fd, PREFIX.size))
    if magic != MAGIC:
        raise ProtocolError("something else than an answer was written to the private pipe")
    if header_length > MAX_HEADER or payload_length > MAX_PAYLOAD:
        raise ProtocolError(
            f"an answer of {header_length + payload_length:,} bytes; at most {MAX_PAYLOAD:,} are taken"
        )
    text, payload = _read(fd, header_length), _read(fd, payload_length)
    try:
        header = json.loads(text)
        arrays = load_arrays(payload) if payload else {}
    except (ValueError, KeyError, RecursionError, SafetensorError) as error:
        raise ProtocolError(f"an answer that cannot be read ({type(error).__name__})") from None
    if not isinstance(header, dict):
        raise ProtocolError("an answer whose header is no JSON object")
    for array in arrays.values():
        if str(array.dtype) not in DTYPES:
            raise ProtocolError(f"an array of dtype {array.dtype}")
    return header, arrays


def _read(fd: int, length: int) -> bytes:
    """Exactly `length` bytes; the buffer grows with what arrives, never ahead of it."""
    parts, missing = [], length
    while missing:
        part = os.read(fd, min(missing, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def write_all(fd: int, data: bytes) -> None:
    """Write every byte; a pipe may take fewer at a time."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def binary(fd: int) -> int:
    """The same descriptor, passing bytes on as they are (Windows would translate line ends)."""
    if os.name == "nt":
        import msvcrt

        msvcrt.setmode(fd, os.O_BINARY)
    return fd
