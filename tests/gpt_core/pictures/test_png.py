import struct
import zlib

import numpy as np
import pytest

from gpt_core.pictures.png import data_uri, heat_map


def chunks(png: bytes) -> dict[bytes, bytes]:
    found, at = {}, 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        kind, content = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert struct.unpack(">I", png[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + content)
        found[kind], at = content, at + 12 + length
    return found


def test_a_matrix_becomes_a_png_whose_pixels_are_as_opaque_as_the_values_are_large():
    parts = chunks(heat_map(np.array([[0, 0.2, 1], [1, 0.5, 0]])))
    assert list(parts) == [b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"]
    assert struct.unpack(">II", parts[b"IHDR"][:8]) == (3, 2)
    rows = np.frombuffer(zlib.decompress(parts[b"IDAT"]), np.uint8).reshape(2, 4)
    assert rows.tolist() == [[0, 0, 51, 255], [0, 255, 128, 0]]
    assert parts[b"tRNS"] == bytes(range(256)) and len(parts[b"PLTE"]) == 3 * 256


def test_a_picture_can_stand_in_the_page():
    assert data_uri(heat_map(np.ones((1, 1)))).startswith("data:image/png;base64,iVBORw0KGgo")


@pytest.mark.parametrize(
    "values", [np.zeros(3), np.zeros((0, 2)), np.full((2, 2), 1.5), np.full((1, 1), np.nan)]
)
def test_what_is_no_matrix_from_0_to_1_is_refused(values):
    with pytest.raises(ValueError):
        heat_map(values)
