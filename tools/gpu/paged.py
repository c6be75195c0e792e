"""Paged keys and values for the checks: block tables over a poisoned pool, in any layout."""
import ctypes

import torch

from device import POISON

BF16_BYTES = 2


class Paged:
    """Blocks of several sequences, scattered at random over a pool.

    layout: "uniform" (pages dense by layer, one stride), "per_layer" (a region for each layer) or
    "block_major" (all layers of a block adjacent)."""

    def __init__(self, device, rng, *, layers, kv_heads, head_dim, block_tokens, lengths, layout,
                 blocks_per_page=4):
        self.device, self.layers = device, layers
        self.kv_heads, self.head_dim, self.block_tokens = kv_heads, head_dim, block_tokens
        part = kv_heads * block_tokens * head_dim * BF16_BYTES  # Keys, or values, of one layer.
        blocks = [-(-length // block_tokens) for length in lengths]
        pages = -(-(sum(blocks) + 3) // blocks_per_page)
        slots = list(range(pages * blocks_per_page))
        rng.shuffle(slots)
        self.kv = device.api.EbbCudaKv()
        if layout == "uniform":
            page_stride = layers * blocks_per_page + 1  # One part of padding in each page.
            indices = [b // blocks_per_page * page_stride + b % blocks_per_page for b in slots]
            self.kv.layer_stride_bytes = blocks_per_page * 2 * part
            self.kv.index_stride_bytes = 2 * part
            pool_bytes = pages * page_stride * 2 * part
        elif layout == "per_layer":
            indices = slots
            self.kv.layer_stride_bytes = len(slots) * 2 * part
            self.kv.index_stride_bytes = 2 * part
            pool_bytes = layers * len(slots) * 2 * part
        else:
            indices = slots
            self.kv.layer_stride_bytes = 2 * part
            self.kv.index_stride_bytes = layers * 2 * part
            pool_bytes = layers * len(slots) * 2 * part
        self.pool = torch.full((pool_bytes,), POISON, dtype=torch.uint8, device=device.name)
        self.kv.base = self.pool.data_ptr()
        self.kv.value_offset_bytes = part
        self.kv.layers, self.kv.kv_heads = layers, kv_heads
        self.kv.head_dim, self.kv.block_tokens = head_dim, block_tokens
        self.tables, begins, flat = [], [], []
        for count in blocks:
            begins.append(len(flat))
            self.tables.append([indices.pop() for _ in range(count)])
            flat += self.tables[-1]
        self._indices = device.tensor(flat or [0], torch.int32)
        self._begins = device.tensor(begins, torch.int32)
        self.device_tables = device.api.EbbCudaTables(self._indices.data_ptr(),
                                                      self._begins.data_ptr())

    def _begin(self, layer, index, values):
        return (layer * self.kv.layer_stride_bytes + index * self.kv.index_stride_bytes
                + (self.kv.value_offset_bytes if values else 0))

    def part(self, pool, layer, index, values):
        """A view of one layer's keys or values of a block: [kv_heads, block_tokens, head_dim]."""
        begin = self._begin(layer, index, values)
        part = pool[begin:begin + self.kv.value_offset_bytes]
        return part.view(torch.bfloat16).view(self.kv_heads, self.block_tokens, self.head_dim)

    def fill(self, rng, layer, sequence, length, scale=1.0):
        """Random keys and values for positions 0 .. length - 1 of one layer; the rest stays NaN.
        Gives them as [length, kv_heads, head_dim]."""
        shape = (length, self.kv_heads, self.head_dim)
        both = [self.device.random(rng, *shape, scale=scale) for _ in range(2)]
        blocks = self.tables[sequence]
        # Every part begins at a multiple of its size.
        parts = self.pool.view(torch.bfloat16).view(-1, self.kv_heads, self.block_tokens,
                                                    self.head_dim)
        for values, numbers in enumerate(both):
            begins = [self._begin(layer, index, values) // self.kv.value_offset_bytes
                      for index in blocks]
            # What is past the sequence's end stays poisoned.
            whole = torch.full((len(blocks) * self.block_tokens, *shape[1:]), -1,
                               dtype=torch.int16, device=self.device.name).view(torch.bfloat16)
            whole[:length] = numbers
            parts[self.device.tensor(begins, torch.int64)] = (
                whole.view(len(blocks), self.block_tokens, *shape[1:]).transpose(1, 2))
        return both


def attention_reference(q, keys, values, positions):
    """Causal attention in float64. q: [rows, heads, head_dim], row r at positions[r]; keys, values:
    [length, kv_heads, head_dim]. Gives the result, and what bounds its error: the same sum over
    |values|."""
    group = q.shape[1] // keys.shape[1]
    q, keys, values = q.double(), keys.double(), values.double()
    keys, values = (t.repeat_interleave(group, dim=1).transpose(0, 1) for t in (keys, values))
    scores = torch.einsum("rhd,hld->hrl", q, keys) / q.shape[2] ** 0.5
    places = torch.arange(keys.shape[1], device=q.device)
    scores.masked_fill_(places[None, None, :] > positions[None, :, None], float("-inf"))
    weights = torch.softmax(scores, dim=-1)
    result = torch.einsum("hrl,hld->rhd", weights, values)
    return result, torch.einsum("hrl,hld->rhd", weights, values.abs())


def decode_plan(device, lengths, split_tokens, slots_spare=0):
    """The work list of one decode step, splits in a fixed size from 0. Gives the plan, the slots'
    maximum, and the tensors that must live as long."""
    splits, begins, slot = [], [0], 0
    for lane, length in enumerate(lengths):
        for first in range(0, length, split_tokens):
            splits.append((lane, first, min(split_tokens, length - first), slot))
            slot += 1
        begins.append(slot)
    array = (device.api.EbbCudaDecodeSplit * max(1, len(splits)))(*splits)
    kept = [device.tensor([len(splits)], torch.int32), device.structs(array),
            device.tensor(begins, torch.int32)]
    plan = device.api.EbbCudaDecodePlan(*(tensor.data_ptr() for tensor in kept))
    return plan, max(1, slot + slots_spare), kept


def struct(kind, **fields):
    """A ctypes structure with tensors given as themselves, or as None."""
    op = kind()
    for name, value in fields.items():
        if value is None:
            value = 0
        elif hasattr(value, "data_ptr"):
            value = value.data_ptr()
        elif hasattr(value, "pointer"):
            value = value.pointer()
        elif isinstance(value, ctypes.c_void_p):
            value = value.value
        setattr(op, name, value)
    return op
