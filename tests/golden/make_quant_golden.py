#!/usr/bin/env python3
"""Blocks of every quantised format and what they are worth by the gguf package (0.19 was used).

    python3 tests/golden/make_quant_golden.py

writes quant_blocks.bin beside itself: "EBBQUAN1", u32 formats, then per format
{ char name[8], u32 blocks, u32 block_bytes, u32 block_elements, u8 bytes[..], f32 values[..] }.
Nothing of this runs in the tests.
"""
import pathlib
import struct

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

SEED = 20261128
# Type -> where its f16 scales stand in a block.
SCALES = {
    Type.Q8_0: [0], Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2],
    Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208],
}
# Halves: the largest, the least normal and subnormal one, both zeros.
EXTREME_SCALES = [0x7BFF, 0xFBFF, 0x0400, 0x8001, 0x0000, 0x8000]
RANDOM_BLOCKS = 3


def blocks_of(kind, block_bytes, rng):
    blocks = []
    for fill in (0x00, 0xFF, 0x80, 0x7F):
        blocks.append(np.full(block_bytes, fill, dtype=np.uint8))
    for _ in range(len(EXTREME_SCALES) + RANDOM_BLOCKS):
        blocks.append(rng.integers(0, 256, block_bytes, dtype=np.uint8))
    for index, block in enumerate(blocks):
        for number, place in enumerate(SCALES[kind]):
            extreme = index - 4
            if 0 <= extreme < len(EXTREME_SCALES):
                half = EXTREME_SCALES[(extreme + number) % len(EXTREME_SCALES)]
            else:
                half = int(np.float16(rng.normal(0, 0.1)).view(np.uint16))
            block[place:place + 2] = np.frombuffer(struct.pack("<H", half), dtype=np.uint8)
    return np.stack(blocks)


def main():
    rng = np.random.default_rng(SEED)
    path = pathlib.Path(__file__).resolve().parent / "quant_blocks.bin"
    with open(path, "wb") as out:
        out.write(b"EBBQUAN1" + struct.pack("<I", len(SCALES)))
        for kind in SCALES:
            elements, block_bytes = gguf.GGML_QUANT_SIZES[kind]
            blocks = blocks_of(kind, block_bytes, rng)
            values = gguf.quants.dequantize(blocks, kind).astype("<f4")
            assert values.shape == (len(blocks), elements) and np.isfinite(values).all()
            out.write(kind.name.encode().ljust(8, b"\0") +
                      struct.pack("<III", len(blocks), block_bytes, elements))
            out.write(blocks.tobytes() + values.tobytes())
            print(kind.name, len(blocks), "blocks, largest", abs(values).max())


if __name__ == "__main__":
    main()
