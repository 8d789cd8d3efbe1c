"""A grey-scale picture as a PNG, with zlib alone.

The format: https://www.w3.org/TR/png-3/, section 5 (chunks) and 11.3.1 (transparency).
"""

import base64
import struct
import zlib

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def heat_map(values: np.ndarray, colour: tuple[int, int, int] = (37, 99, 235)) -> bytes:
    """A matrix as a PNG, a pixel a cell: 0 is transparent, 1 is the colour, between them it is more or less
    of it.

    values: (rows, columns) from 0 to 1. Transparent and not white, so that one picture fits a light and a
    dark page. ValueError for another shape, or for values out of that range.
    """
    if values.ndim != 2 or not values.size:
        raise ValueError(f"the matrix has the shape {values.shape}; a picture has rows and columns.")
    if not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(f"the values go from {values.min()} to {values.max()}; they must be from 0 to 1.")
    rows, columns = values.shape
    pixels = np.zeros((rows, columns + 1), np.uint8)  # each row begins with its filter, 0: none
    pixels[:, 1:] = np.round(values * 255)
    header = struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)  # 8 bits, an index into the palette
    return b"".join(
        [
            SIGNATURE,
            _chunk(b"IHDR", header),
            _chunk(b"PLTE", bytes(colour) * 256),
            _chunk(b"tRNS", bytes(range(256))),  # how opaque each colour of the palette is
            _chunk(b"IDAT", zlib.compress(pixels.tobytes(), 9)),
            _chunk(b"IEND", b""),
        ]
    )


def data_uri(png: bytes) -> str:
    """The address of a picture that lies in the page itself."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
