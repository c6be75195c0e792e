"""Simple quantisers for the K formats, which the gguf package can only take apart.

They round each sub-block between its smallest and largest weight, where llama.cpp searches for better
scales; the form of the files is the same.
"""
import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

BLOCK = 256


def as_half(values):
    return values.astype(np.float16)


def half_bytes(values):
    return as_half(values).reshape(-1, 1).view(np.uint8)


def divided(a, b):
    return np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape), where=b != 0)


def pack_six_bits(scales, minimums):
    """8 scales and 8 minimums of 6 bits in 12 bytes."""
    s, n = scales.astype(np.uint8), minimums.astype(np.uint8)
    low = s[:, :4] | (s[:, 4:] >> 4) << 6
    middle = n[:, :4] | (n[:, 4:] >> 4) << 6
    high = (s[:, 4:] & 15) | (n[:, 4:] & 15) << 4
    return np.concatenate([low, middle, high], axis=1).astype(np.uint8)


def pack_nibbles(codes):
    """[blocks, runs, 32]: of each two runs, the first are the low nibbles."""
    return ((codes[:, 0::2] & 15) | (codes[:, 1::2] & 15) << 4).astype(np.uint8).reshape(len(codes), -1)


def quantize_k45(blocks, bits):
    x = blocks.reshape(-1, 8, 32).astype(np.float64)
    offsets = np.maximum(0, -x.min(axis=2))
    sizes = (x.max(axis=2) + offsets) / (2**bits - 1)
    d, m = as_half(sizes.max(axis=1) / 63), as_half(offsets.max(axis=1) / 63)
    d64, m64 = d.astype(np.float64)[:, None], m.astype(np.float64)[:, None]
    scales = np.clip(np.rint(divided(sizes, d64)), 0, 63)
    minimums = np.clip(np.rint(divided(offsets, m64)), 0, 63)
    codes = np.rint(divided(x + (m64 * minimums)[:, :, None], (d64 * scales)[:, :, None]))
    codes = np.clip(codes, 0, 2**bits - 1).astype(np.uint8)
    parts = [half_bytes(d), half_bytes(m), pack_six_bits(scales, minimums)]
    if bits == 5:
        weights = (1 << np.arange(8, dtype=np.uint8)).reshape(1, 8, 1)
        parts.append(((codes >> 4) * weights).sum(axis=1).astype(np.uint8))
    parts.append(pack_nibbles(codes))
    return np.concatenate(parts, axis=1)


def quantize_6(blocks):
    x = blocks.reshape(-1, 16, 16).astype(np.float64)
    largest = np.take_along_axis(x, abs(x).argmax(axis=2)[:, :, None], axis=2)[:, :, 0]
    sizes = -largest / 32
    d = as_half(abs(sizes).max(axis=1) / 127)
    d64 = d.astype(np.float64)[:, None]
    scales = np.clip(np.rint(divided(sizes, d64)), -128, 127)
    codes = np.rint(divided(x, (d64 * scales)[:, :, None]))
    codes = (np.clip(codes, -32, 31) + 32).astype(np.uint8).reshape(-1, 2, 4, 32)
    # Of 128 weights in runs of 32: runs 0 and 1 are the low nibbles of 64 bytes, 2 and 3 the high.
    nibbles = (codes[:, :, :2] & 15) | (codes[:, :, 2:] & 15) << 4
    upper = sum((codes[:, :, run] >> 4) << 2 * run for run in range(4))
    return np.concatenate([nibbles.reshape(-1, 128), upper.reshape(-1, 64),
                           scales.astype(np.int8).view(np.uint8), half_bytes(d)],
                          axis=1).astype(np.uint8)


def quantize(weight, kind):
    """As gguf.quants.quantize, for every type."""
    if kind not in (Type.Q4_K, Type.Q5_K, Type.Q6_K):
        return gguf.quants.quantize(weight, kind)
    assert weight.shape[1] % BLOCK == 0
    blocks = weight.reshape(-1, BLOCK)
    packed = quantize_6(blocks) if kind == Type.Q6_K else quantize_k45(
        blocks, 4 if kind == Type.Q4_K else 5)
    packed = packed.reshape(weight.shape[0], -1)
    # A wrong place of a bit would be an error of the weights' own size.
    error = gguf.quants.dequantize(packed, kind) - weight
    bound = {Type.Q4_K: 0.15, Type.Q5_K: 0.08, Type.Q6_K: 0.05}[kind]
    assert error.std() < bound * weight.std(), (kind, error.std() / weight.std())
    return packed
