"""Captured graphs whose memory grows and shrinks between replays, and work on two streams at once.

    python3 check_graphs.py --library libebb_cuda.so [--seconds N]

Addresses are reserved once; a graph that was captured over them must serve every later mapping."""
import contextlib
import ctypes
import sys

import torch

import cases
from check_ops import BF16_ROUNDING, FUNCTION_ERROR, attention_bound
from device import POISON, Device, assert_close
from paged import attention_reference, decode_plan, struct

HEADS, KV_HEADS, HEAD_DIM, BLOCK_TOKENS, LAYERS = 8, 2, 64, 16, 2
LANES, SPLIT_TOKENS, SLOTS_MAX = 4, 64, 32
PAGES = 6
PART_BYTES = KV_HEADS * BLOCK_TOKENS * HEAD_DIM * 2  # Keys, or values, of one layer of a block.


class Pool:
    """A reserved range whose pages are mapped and unmapped through the table."""

    def __init__(self, device):
        self.device, api = device, device.api
        granularity = ctypes.c_int64()
        api.check(api.vmm_granularity(device.context, ctypes.byref(granularity)))
        unit = LAYERS * 2 * PART_BYTES
        self.page_bytes = granularity.value
        while self.page_bytes % unit:
            self.page_bytes += granularity.value
        self.blocks_per_page = self.page_bytes // unit
        self.base = ctypes.c_void_p()
        api.check(api.vmm_reserve(device.context, PAGES * self.page_bytes, ctypes.byref(self.base)))
        self.handles = {}
        self.kv = api.EbbCudaKv(
            self.base.value, self.blocks_per_page * 2 * PART_BYTES, 2 * PART_BYTES, PART_BYTES,
            LAYERS, KV_HEADS, HEAD_DIM, BLOCK_TOKENS)

    def map(self, page):
        api, address = self.device.api, self.base.value + page * self.page_bytes
        handle = ctypes.c_uint64()
        api.check(api.vmm_create(self.device.context, self.page_bytes, ctypes.byref(handle)))
        api.check(api.vmm_map(self.device.context, address, self.page_bytes, handle))
        api.check(api.vmm_set_access(self.device.context, address, self.page_bytes))
        # What a fresh mapping holds is undefined; this is the worst that it can hold.
        api.check(api.fill_bytes(self.device.stream, address, POISON, self.page_bytes))
        self.device.synchronize()
        self.handles[page] = handle

    def unmap(self, page):
        api, address = self.device.api, self.base.value + page * self.page_bytes
        api.check(api.vmm_unmap(self.device.context, address, self.page_bytes))
        api.check(api.vmm_release(self.device.context, self.handles.pop(page)))

    def index(self, page, block):
        return page * (self.page_bytes // (2 * PART_BYTES)) + block

    def write(self, layer, index, values, numbers):
        """numbers: [tokens, kv_heads, head_dim] on the host; other tokens of the block are poisoned."""
        block = torch.full((PART_BYTES,), POISON, dtype=torch.uint8).view(torch.bfloat16)
        block = block.view(KV_HEADS, BLOCK_TOKENS, HEAD_DIM)
        block[:, :len(numbers)] = numbers.transpose(0, 1)
        address = (self.base.value + layer * self.kv.layer_stride_bytes
                   + index * self.kv.index_stride_bytes + values * PART_BYTES)
        api = self.device.api
        api.check(api.copy_to_device(self.device.stream, address, block.data_ptr(), PART_BYTES))
        self.device.synchronize()

    def close(self):
        for page in list(self.handles):
            self.unmap(page)
        self.device.api.check(self.device.api.vmm_free(
            self.device.context, self.base, PAGES * self.page_bytes))


@contextlib.contextmanager
def captured(device, record):
    """A graph of what `record` launches on the device's stream."""
    api, graph = device.api, ctypes.c_void_p()
    device.settle()
    api.check(api.capture_begin(device.stream))
    try:
        record()
    finally:
        code = api.capture_end(device.stream, ctypes.byref(graph))
    api.check(code)
    try:
        yield graph
    finally:
        device.synchronize()
        api.graph_destroy(graph)


class DecodeStep:
    """One attention step of fixed buffers, as a graph has it."""

    def __init__(self, device, pool):
        api, self.device, self.pool = device.api, device, pool
        tables = LANES * SLOTS_MAX * SPLIT_TOKENS // BLOCK_TOKENS
        self.q = torch.zeros(LANES, HEADS * HEAD_DIM, dtype=torch.bfloat16, device=device.name)
        self.out = torch.zeros_like(self.q)
        self.indices = torch.zeros(tables, dtype=torch.int32, device=device.name)
        self.begins = torch.zeros(LANES, dtype=torch.int32, device=device.name)
        self.count = torch.zeros(1, dtype=torch.int32, device=device.name)
        self.splits = torch.zeros(SLOTS_MAX * ctypes.sizeof(api.EbbCudaDecodeSplit),
                                  dtype=torch.uint8, device=device.name)
        self.slot_begins = torch.zeros(LANES + 1, dtype=torch.int32, device=device.name)
        self.partials = torch.zeros(SLOTS_MAX, HEADS, HEAD_DIM, device=device.name)
        self.stats = torch.zeros(SLOTS_MAX, HEADS, 2, device=device.name)
        plan = api.EbbCudaDecodePlan(self.count.data_ptr(), self.splits.data_ptr(),
                                     self.slot_begins.data_ptr())
        self.op = struct(
            api.EbbCudaDecodeAttention, q=self.q, out=self.out, plan=plan, partials=self.partials,
            partial_stats=self.stats, kv=pool.kv, layer=1, heads=HEADS, lanes=LANES,
            tables=api.EbbCudaTables(self.indices.data_ptr(), self.begins.data_ptr()),
            slots_max=SLOTS_MAX)

    def prepare(self, rng):
        """New lengths, keys, values and queries in the mapped pages. Gives the expected result and
        its bound."""
        lengths = [rng.choice([0, 1, 17, 63, 200, 333]) for _ in range(LANES)]
        blocks = [(page, block) for page in self.pool.handles
                  for block in rng.sample(range(self.pool.blocks_per_page),
                                          min(24, self.pool.blocks_per_page))]
        rng.shuffle(blocks)
        self.q.copy_(self.device.random(rng, *self.q.shape))
        expected, bound = [], []
        flat, begins = [], []
        for lane, length in enumerate(lengths):
            length = lengths[lane] = min(length, len(blocks) * BLOCK_TOKENS)
            begins.append(len(flat))
            keys, values = (torch.randn(
                length, KV_HEADS, HEAD_DIM,
                generator=torch.Generator().manual_seed(rng.getrandbits(40))).bfloat16()
                for _ in range(2))
            for first in range(0, length, BLOCK_TOKENS):
                index = self.pool.index(*blocks.pop())
                flat.append(index)
                for part, numbers in enumerate((keys, values)):
                    self.pool.write(1, index, part, numbers[first:first + BLOCK_TOKENS])
            reference = magnitude = torch.zeros(1, HEADS, HEAD_DIM, dtype=torch.float64)
            if length:
                query = self.q[lane].cpu().view(1, HEADS, HEAD_DIM)
                reference, magnitude = attention_reference(query, keys, values,
                                                           torch.tensor([length - 1]))
            expected.append(reference.flatten(1))
            bound.append(attention_bound(reference, magnitude).flatten(1))
        self.indices[:len(flat)] = self.device.tensor(flat, torch.int32)
        self.begins.copy_(self.device.tensor(begins, torch.int32))
        _, slots, kept = decode_plan(self.device, lengths, SPLIT_TOKENS)
        assert slots <= SLOTS_MAX, "the check's own lengths need more slots"
        self.count.copy_(kept[0])
        self.splits[:len(kept[1])] = kept[1]
        self.slot_begins.copy_(kept[2])
        self.out.fill_(float("nan"))
        self.device.settle()
        return torch.cat(expected), torch.cat(bound)


def across_growth(device, steps):
    def check(rng):
        pool = Pool(device)
        pool.map(0)
        step = DecodeStep(device, pool)
        with captured(device, lambda: device.launch("decode_attention", step.op)) as graph:
            for number in range(steps):
                mapped = set(pool.handles)
                for page in rng.sample(range(PAGES), rng.randrange(PAGES)):
                    if page not in mapped:
                        pool.map(page)
                    elif len(pool.handles) > 1:
                        pool.unmap(page)
                expected, bound = step.prepare(rng)
                device.api.check(device.api.graph_launch(graph, device.stream))
                device.synchronize()
                pages = sorted(pool.handles)
                assert_close(step.out.cpu(), expected, bound, f"step {number}, pages {pages}")
        pool.close()
    return f"graph of decode attention, {steps} replays across growth", check


def linear_replayed(device, rows, invariant):
    def check(rng):
        outputs, inputs = 64, 72
        weight = device.random(rng, outputs, inputs)
        x = torch.zeros(rows, inputs, dtype=torch.bfloat16, device=device.name)
        y = torch.zeros(rows, outputs, device=device.name)
        op = struct(device.api.EbbCudaLinear, weight=weight, x=x, y=y, rows=rows, outputs=outputs,
                    inputs=inputs, output=device.api.EBB_CUDA_F32, invariant=invariant)
        op.scratch, op.scratch_bytes = device.scratch, device.scratch_bytes
        device.run("linear", op)  # Its plan is made once, outside of any capture.
        y.fill_(5)
        with captured(device, lambda: device.launch("linear", op)) as graph:
            assert bool((y == 5).all()), "the capture ran what it should only record"
            for number in range(4):
                x.copy_(device.random(rng, rows, inputs))
                y.fill_(float("nan"))
                device.settle()
                device.api.check(device.api.graph_launch(graph, device.stream))
                device.synchronize()
                magnitude = x.double().abs() @ weight.double().abs().T
                assert_close(y, x.double() @ weight.double().T, inputs * 2.0**-23 * magnitude + 1e-9,
                             f"replay {number}")
    return f"graph of linear, rows={rows}{' invariant' if invariant else ''}", check


def beside_another_stream(device, rounds):
    """Replays on a high-priority stream while another stream computes: neither disturbs the other."""
    def check(rng):
        api, other = device.api, ctypes.c_void_p()
        api.check(api.stream_create(device.context, 1, ctypes.byref(other)))
        rows, width = 64, 256
        weight, x = device.random(rng, width, width), device.random(rng, rows, width)
        gate_up = device.random(rng, rows, 2 * width)
        y = torch.full((rows, width), float("nan"), device=device.name)
        activated = torch.full((rows, width), float("nan"), dtype=torch.bfloat16, device=device.name)
        linear = struct(api.EbbCudaLinear, weight=weight, x=x, y=y, rows=rows, outputs=width,
                        inputs=width, output=api.EBB_CUDA_F32)
        linear.scratch, linear.scratch_bytes = device.scratch, device.scratch_bytes
        swiglu = struct(api.EbbCudaSwiGlu, gate_up=gate_up, out=activated, rows=rows, ffn_width=width)
        device.run("linear", linear)
        with captured(device, lambda: device.launch("linear", linear)) as graph:
            for _ in range(rounds):
                api.check(api.swiglu(device.stream, ctypes.byref(swiglu)))
                api.check(api.graph_launch(graph, other))
            api.check(api.stream_synchronize(other))
            device.synchronize()
        api.stream_destroy(other)
        magnitude = x.double().abs() @ weight.double().abs().T
        assert_close(y, x.double() @ weight.double().T, width * 2.0**-23 * magnitude, "linear")
        gate, up = gate_up.double().split(width, dim=1)
        reference = torch.nn.functional.silu(gate) * up
        bound = (BF16_ROUNDING + FUNCTION_ERROR) * reference.abs() + 1e-30
        assert_close(activated, reference, bound, "swiglu")
    return f"graph beside another stream, {rounds} rounds", check


def main():
    options = cases.argument_parser(__doc__.splitlines()[0]).parse_args()
    device = Device(options.library)
    return cases.run([
        across_growth(device, steps=6 if device.fake else 200),
        linear_replayed(device, 3, 0),
        linear_replayed(device, 40, 0),
        linear_replayed(device, 40, 1),
        beside_another_stream(device, rounds=2 if device.fake else 200),
    ], options)


if __name__ == "__main__":
    sys.exit(main())
