"""Frames from a hostile worker: whatever the bytes are, the reader says so and allocates nothing for them."""

import json
import os
import struct
import threading

import numpy as np
import pytest

from grader import protocol
from grader.judge.text import clean, one_line


def read(data: bytes):
    """What read_frame makes of these bytes."""
    read_end, write_end = os.pipe()

    def write():
        try:
            protocol.write_all(write_end, data)
        except OSError:
            pass
        os.close(write_end)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        return protocol.read_frame(read_end)
    finally:
        os.close(read_end)
        writer.join()


def frame(header: bytes, payload: bytes = b"", magic=b"GPTW", lengths=None) -> bytes:
    return struct.pack("<4sIQ", magic, *(lengths or (len(header), len(payload)))) + header + payload


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool", "uint8"])
def test_a_frame_comes_back_as_it_was_sent(dtype):
    arrays = {"x": np.arange(6).reshape(2, 3).astype(dtype), "empty": np.zeros((0, 2), dtype)}
    header, came = read(protocol.pack({"a": [1, "é", None]}, arrays))
    assert header == {"a": [1, "é", None]}
    assert came.keys() == arrays.keys()
    for name in arrays:
        assert came[name].dtype == arrays[name].dtype and np.array_equal(came[name], arrays[name])


@pytest.mark.parametrize(
    "data",
    [
        frame(b"{}", magic=b"HTTP"),
        frame(b"{}", lengths=(2**31, 0)),
        frame(b"{}", lengths=(2, 2**62)),
        frame(b"not json"),
        frame(b"[1]"),
        frame(b"\xff\xfe"),
        frame(b"{}", b"not safetensors"),
        frame(b"[" * 200_000),
        frame(b"{}", struct.pack("<Q", 2**60) + b"{}"),
    ],
    ids=[
        "magic",
        "long header",
        "long payload",
        "no JSON",
        "no object",
        "no text",
        "no tensors",
        "deep",
        "lying tensors",
    ],
)
def test_bytes_that_are_no_frame_are_a_protocol_error(data):
    with pytest.raises(protocol.ProtocolError):
        read(data)


def test_an_array_of_another_dtype_is_refused():
    header = json.dumps({"x": {"dtype": "F16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    with pytest.raises(protocol.ProtocolError, match="float16"):
        read(frame(b"{}", struct.pack("<Q", len(header)) + header + b"\0\0"))


@pytest.mark.parametrize("cut", [0, 3, 10, 17])
def test_a_stream_that_ends_early_is_the_end_of_the_stream(cut):
    with pytest.raises(EOFError):
        read(protocol.pack({"a": 1})[:cut])


def test_shown_text_keeps_its_words_and_loses_what_a_terminal_would_obey():
    assert (
        clean("a\x1b[31mb\tc\nd\u202e\u200b")
        == "a\N{REPLACEMENT CHARACTER}[31mb\tc\nd" + 2 * "\N{REPLACEMENT CHARACTER}"
    )
    assert one_line("a\n  b\r\n\tc") == "a b c"
    assert len(clean("x" * 10_000, 100)) < 120
