"""Small PNG pictures, a pixel a number, made with zlib alone (PNG specification, W3C 2003: color type 3)."""

import base64
import struct
import zlib

import numpy as np

# An RGBA for each value of a pixel.
Palette = tuple[tuple[int, int, int, int], ...]


def png(pixels: np.ndarray, palette: Palette) -> bytes:
    """A picture of (height, width) indices into a palette of at most 256 colours."""
    height, width = pixels.shape
    # Each row begins with its filter: 0, none, which is best where neighbours are not alike.
    rows = np.zeros((height, width + 1), dtype=np.uint8)
    rows[:, 1:] = pixels
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", bytes(part for colour in palette for part in colour[:3])),
            _chunk(b"tRNS", bytes(colour[3] for colour in palette)),
            _chunk(b"IDAT", zlib.compress(rows.tobytes())),
            _chunk(b"IEND", b""),
        ]
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def data_uri(pixels: np.ndarray, palette: Palette) -> str:
    """The same as an address that holds the whole picture."""
    return "data:image/png;base64," + base64.b64encode(png(pixels, palette)).decode()
