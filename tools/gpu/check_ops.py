"""Each operation of the table against PyTorch in float64, over odd shapes, outputs poisoned.

    python3 check_ops.py --library libebb_cuda.so [--seconds N] [--only NAME] [--small]

Bounds. The inputs are bf16 and exact. A bf16 result is rounded once: half a unit in the last place,
2^-8 of it. A float32 sum of n products errs by at most n * 2^-23 of the sum of their magnitudes
(tensor cores truncate, hence not 2^-24). Functions (exp, rsqrt, sin) may err by 2^-18."""
import math
import sys

import torch

import cases
import check_sample
from device import Device, assert_close, assert_norm_close
from paged import Paged, attention_reference, decode_plan, struct

BF16_ROUNDING = 2.0**-8
FUNCTION_ERROR = 2.0**-18
SUM_ERROR = 2.0**-23
TINY = 1e-30

LAYOUTS = ("uniform", "per_layer", "block_major")


def embed(device, rows, width):
    def check(rng):
        vocabulary = 50
        table = device.random(rng, vocabulary, width)
        ids = device.tensor([rng.randrange(vocabulary) for _ in range(rows)], torch.int32)
        x = device.guarded((rows, width), torch.float32)
        device.run("embed", struct(device.api.EbbCudaEmbed, ids=ids, table=table, x=x, rows=rows,
                                   width=width))
        reference = torch.nn.functional.embedding(ids.long(), table.double())
        assert_close(x.check("x"), reference, 0, "x")
    return f"embed rows={rows} width={width}", check


def rms_norm(device, rows, width, gathered):
    def check(rng):
        sources = rows + 5
        x = device.random(rng, sources, width, dtype=torch.float32, scale=rng.choice([1e-3, 1, 50]))
        weight = device.random(rng, width, dtype=torch.float32)
        gather = [rng.randrange(sources) for _ in range(rows)] if gathered else list(range(rows))
        indices = device.tensor(gather, torch.int32)
        out = device.guarded((rows, width), torch.bfloat16)
        device.run("rms_norm", struct(device.api.EbbCudaRmsNorm, x=x, weight=weight,
                                      gather=indices if gathered else None, out=out, rows=rows,
                                      width=width, epsilon=1e-5))
        picked = x.double()[indices.long()]
        scale = torch.rsqrt(picked.square().mean(dim=1, keepdim=True) + 1e-5)
        reference = picked * scale * weight.double()
        bound = (BF16_ROUNDING + FUNCTION_ERROR + width * SUM_ERROR) * reference.abs() + TINY
        assert_close(out.check("out"), reference, bound, "out")
    return f"rms_norm rows={rows} width={width}{' gathered' if gathered else ''}", check


def swiglu(device, rows, width):
    def check(rng):
        gate_up = device.random(rng, rows, 2 * width, scale=3)
        out = device.guarded((rows, width), torch.bfloat16)
        device.run("swiglu", struct(device.api.EbbCudaSwiGlu, gate_up=gate_up, out=out, rows=rows,
                                    ffn_width=width))
        gate, up = gate_up.double().split(width, dim=1)
        reference = torch.nn.functional.silu(gate) * up
        bound = (BF16_ROUNDING + FUNCTION_ERROR) * reference.abs() + TINY
        assert_close(out.check("out"), reference, bound, "out")
    return f"swiglu rows={rows} width={width}", check


def run_linear(device, weight, x, y, output, invariant, sm_target=0):
    op = struct(device.api.EbbCudaLinear, weight=weight, x=x, y=y, rows=x.shape[0],
                outputs=weight.shape[0], inputs=weight.shape[1], output=output,
                sm_target=sm_target, invariant=invariant)
    op.scratch, op.scratch_bytes = device.scratch, device.scratch_bytes
    device.run("linear", op)


def linear(device, rows, outputs, inputs, invariant):
    def check(rng):
        api = device.api
        weight = device.random(rng, outputs, inputs, scale=inputs**-0.5)
        x = device.random(rng, rows, inputs)
        product = x.double() @ weight.double().T
        magnitude = x.double().abs() @ weight.double().abs().T
        sm_target = rng.choice([0, 0, 16])
        for output in (api.EBB_CUDA_BF16, api.EBB_CUDA_F32, api.EBB_CUDA_F32_ACCUMULATE):
            rounded = output == api.EBB_CUDA_BF16
            y = device.guarded((rows, outputs), torch.bfloat16 if rounded else torch.float32)
            reference, bound = product, inputs * SUM_ERROR * magnitude + TINY
            if output == api.EBB_CUDA_F32_ACCUMULATE:
                y.tensor.copy_(device.random(rng, rows, outputs, dtype=torch.float32))
                reference = product + y.tensor.double()
                bound = bound + SUM_ERROR * (y.tensor.double().abs() + product.abs())
            if rounded:
                bound = bound + BF16_ROUNDING * (product.abs() + bound)
            run_linear(device, weight, x, y, output, invariant, sm_target)
            what = ("bf16", "f32", "f32 accumulated")[output]
            result = y.check(what)
            assert_close(result, reference, bound, what)
            # Rounding errors are independent, so their norm is far below the bound; what tensor
            # cores cut off is not, and grows with inputs / 16 products of 2^-24 each.
            assert_norm_close(result, reference, 3e-3 if rounded else 2e-4, what)
    kind = " invariant" if invariant else ""
    return f"linear rows={rows} outputs={outputs} inputs={inputs}{kind}", check


def linear_row_bits(device, outputs, inputs):
    """With `invariant`, a row's bits are the same alone and among any others."""
    def check(rng):
        weight = device.random(rng, outputs, inputs, scale=inputs**-0.5)
        x = device.random(rng, 37, inputs)
        alone = None
        for rows in (1, 2, 9, 37):
            y = device.guarded((rows, outputs), torch.float32)
            place = rng.randrange(rows)
            mixed = x[:rows].clone()
            mixed[place] = x[0]
            run_linear(device, weight, mixed, y, device.api.EBB_CUDA_F32, 1)
            row = y.check("y")[place].clone()
            alone = row if alone is None else alone
            assert torch.equal(row, alone), f"row {place} of {rows} differs from the row alone"
    return f"linear row bits outputs={outputs} inputs={inputs}", check


def rope_store(device, heads, kv_heads, head_dim, block_tokens, layout, bias, norms):
    def check(rng):
        lengths = [1, block_tokens, 2 * block_tokens + 3]
        paged = Paged(device, rng, layers=3, kv_heads=kv_heads, head_dim=head_dim,
                      block_tokens=block_tokens, lengths=lengths, layout=layout)
        pairs = rng.choice([head_dim // 2, head_dim // 4])
        rows = [(s, p) for s, length in enumerate(lengths) for p in range(max(0, length - 6), length)]
        rng.shuffle(rows)
        rows.insert(rng.randrange(len(rows)), (0, -1))  # A padded lane.
        width = (heads + 2 * kv_heads) * head_dim
        qkv = device.random(rng, len(rows), width)
        named = {
            "bias": device.random(rng, width, dtype=torch.float32) if bias else None,
            "q_norm": device.random(rng, head_dim, dtype=torch.float32) if norms else None,
            "k_norm": device.random(rng, head_dim, dtype=torch.float32) if norms else None,
        }
        frequencies = device.tensor([10000.0 ** (-i / pairs) for i in range(pairs)], torch.float32)
        positions = device.tensor([p for _, p in rows], torch.int32)
        sequences = device.tensor([s for s, _ in rows], torch.int32)
        q_out = device.guarded((len(rows), heads * head_dim), torch.bfloat16)
        before = paged.pool.clone()
        device.run("rope_store", struct(
            device.api.EbbCudaRopeStore, qkv=qkv, frequencies=frequencies, positions=positions,
            sequence_of_row=sequences, q_out=q_out, tables=paged.device_tables, kv=paged.kv, layer=1,
            rows=len(rows), heads=heads, pair_count=pairs, norm_epsilon=1e-6, **named))
        expected, bound = _turned(qkv, heads, kv_heads, head_dim, frequencies, positions, named)
        after = paged.pool.clone()
        for r, (sequence, position) in enumerate(rows):
            if position < 0:
                q_out.tensor[r] = 0  # Skipped: left as it was.
                continue
            query = q_out.tensor[r].view(heads, head_dim)
            assert_close(query, expected[r, :heads], bound[r, :heads], f"q of row {r}")
            block, offset = divmod(position, block_tokens)
            for values in (0, 1):
                part = (1, paged.tables[sequence][block], values)
                begin = heads + values * kv_heads
                stored = paged.part(after, *part)[:, offset]
                assert_close(stored, expected[r, begin:begin + kv_heads],
                             bound[r, begin:begin + kv_heads], f"{'kv'[values]} of row {r}")
                # Put back what was there: then nothing else may differ.
                stored.copy_(paged.part(before, *part)[:, offset])
        q_out.check("q_out")
        assert torch.equal(before, after), "keys and values of other places were changed"
    name = f"rope_store {heads}/{kv_heads}x{head_dim} block={block_tokens} {layout}"
    return name + (" bias" if bias else "") + (" norms" if norms else ""), check


def _turned(qkv, heads, kv_heads, head_dim, frequencies, positions, named):
    """All heads of all rows, [rows, heads + 2 kv_heads, head_dim], in float64, and error bounds."""
    x = qkv.double()
    if named["bias"] is not None:
        x = x + named["bias"].double()
    x = x.view(len(qkv), heads + 2 * kv_heads, head_dim).clone()
    if named["q_norm"] is not None:
        scale = torch.rsqrt(x.square().mean(dim=2, keepdim=True) + 1e-6)
        x[:, :heads] *= scale[:, :heads] * named["q_norm"].double()
        turned = slice(heads, heads + kv_heads)
        x[:, turned] *= scale[:, turned] * named["k_norm"].double()
    pairs = len(frequencies)
    # The angle is a float32 product; its own rounding is not an error.
    angles = (positions.float()[:, None] * frequencies[None, :]).double()[:, None, :]
    both = x[:, :heads + kv_heads, :2 * pairs]
    even, odd = both[..., 0::2].clone(), both[..., 1::2].clone()
    both[..., 0::2] = even * angles.cos() - odd * angles.sin()
    both[..., 1::2] = even * angles.sin() + odd * angles.cos()
    reach = x.abs().amax(dim=2, keepdim=True)
    return x, BF16_ROUNDING * x.abs() + 4 * FUNCTION_ERROR * reach + TINY


def attention_bound(reference, magnitude):
    """The weights may be rounded to bf16 before their sum with the values: 2^-8 of each, and as much
    again where the sum that they are divided by is that of the unrounded ones; the result once."""
    return 2 * BF16_ROUNDING * magnitude + BF16_ROUNDING * reference.abs() + 1e-6


def prefill_attention(device, heads, kv_heads, head_dim, block_tokens, layout, chunks):
    """chunks: (first position, rows) of each sequence; what lies before is in the cache."""
    def check(rng):
        api = device.api
        lengths = [first + rows for first, rows in chunks]
        paged = Paged(device, rng, layers=2, kv_heads=kv_heads, head_dim=head_dim,
                      block_tokens=block_tokens, lengths=lengths, layout=layout)
        rows = sum(rows for _, rows in chunks)
        q = device.random(rng, rows, heads * head_dim, scale=1.5)
        tile_rows = max(1, api.EBB_CUDA_PREFILL_TILE_ROWS // (heads // kv_heads))
        tiles, expected, begin = [], [], 0
        for s, (first, count) in enumerate(chunks):
            keys, values = paged.fill(rng, 1, s, first + count)
            positions = torch.arange(first, first + count, device=device.name)
            queries = q[begin:begin + count].view(count, heads, head_dim)
            expected.append(attention_reference(queries, keys, values, positions))
            for at in range(0, count, tile_rows):
                tiles.append((s, begin + at, min(tile_rows, count - at), first + at))
            begin += count
        tiles.sort(key=lambda tile: -(tile[3] + tile[2]))
        device_tiles = device.structs((api.EbbCudaPrefillTile * len(tiles))(*tiles))
        out = device.guarded((rows, heads * head_dim), torch.bfloat16)
        device.run("prefill_attention", struct(
            api.EbbCudaPrefillAttention, q=q, out=out, tiles=device_tiles,
            tables=paged.device_tables, kv=paged.kv, layer=1, heads=heads, tile_count=len(tiles)))
        reference, magnitude = (torch.cat([e[i] for e in expected]).flatten(1) for i in (0, 1))
        result = out.check("out")
        assert_close(result, reference, attention_bound(reference, magnitude), "out")
        assert_norm_close(result, reference, 6e-3, "out")
    return (f"prefill_attention {heads}/{kv_heads}x{head_dim} block={block_tokens} {layout} "
            f"{chunks}", check)


def decode_attention(device, heads, kv_heads, head_dim, block_tokens, layout, lengths, split_tokens):
    def check(rng):
        api = device.api
        paged = Paged(device, rng, layers=2, kv_heads=kv_heads, head_dim=head_dim,
                      block_tokens=block_tokens, lengths=lengths, layout=layout)
        lanes = len(lengths)
        q = device.random(rng, lanes, heads * head_dim, scale=1.5)
        plan, slots, kept = decode_plan(device, lengths, split_tokens, slots_spare=3)
        reference = torch.zeros(lanes, heads, head_dim, dtype=torch.float64, device=device.name)
        magnitude = torch.zeros_like(reference)
        for s, length in enumerate(lengths):
            if length == 0:
                continue
            keys, values = paged.fill(rng, 1, s, length)
            last = torch.tensor([length - 1], device=device.name)
            query = q[s].view(1, heads, head_dim)
            reference[s:s + 1], magnitude[s:s + 1] = attention_reference(query, keys, values, last)
        out = device.guarded((lanes, heads * head_dim), torch.bfloat16)
        partials = device.guarded((slots, heads, head_dim), torch.float32)
        stats = device.guarded((slots, heads, 2), torch.float32)
        op = struct(api.EbbCudaDecodeAttention, q=q, out=out, plan=plan, partials=partials,
                    partial_stats=stats, tables=paged.device_tables, kv=paged.kv, layer=1,
                    heads=heads, lanes=lanes, slots_max=slots)
        device.run("decode_attention", op)
        result = out.check("out").clone()
        reference, magnitude = reference.flatten(1), magnitude.flatten(1)
        assert_close(result, reference, attention_bound(reference, magnitude), "out")
        assert_norm_close(result, reference, 6e-3, "out")
        for _ in range(3):  # The same inputs give the same bits, or there is a race.
            device.run("decode_attention", op)
            assert torch.equal(out.tensor, result), "a second run gave other bits"
        del kept
    return (f"decode_attention {heads}/{kv_heads}x{head_dim} block={block_tokens} {layout} "
            f"lengths={lengths} split={split_tokens}", check)


def random_unit(seed, index):
    """model/random_weights.h's number in [-1, 1), before the scale."""
    mask = (1 << 64) - 1
    def mix(x):
        x = (x + 0x9E3779B97F4A7C15) & mask
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
        return x ^ (x >> 31)
    return (mix(mix(seed) ^ mix(index ^ 0xD1B54A32D192ED03)) >> 40) * 2.0**-23 - 1


def fill_random(device, count):
    """The numbers are those of the host: a function of (seed, index) alone."""
    def check(rng):
        seed, scale = rng.getrandbits(60), rng.choice([0.02, 1.0])
        def fill(first, number):
            out = device.guarded((number,), torch.bfloat16)
            device.run("fill_random", struct(device.api.EbbCudaFillRandom, out=out, count=number,
                                             first_index=first, seed=seed, scale=scale))
            return out.check("out").double()
        whole = fill(7, count)
        begin = rng.randrange(count)
        assert torch.equal(fill(7 + begin, count - begin), whole[begin:]), "the place changes numbers"
        tried = rng.sample(range(count), min(count, 500))
        units = torch.tensor([random_unit(seed, 7 + i) for i in tried], dtype=torch.float32)
        expected = (units * torch.tensor(scale, dtype=torch.float32)).bfloat16().double()
        assert_close(whole.cpu()[tried], expected, 0, "out")
        # Six standard errors of the mean and of the mean square of uniform numbers.
        allowed = 6 * scale / math.sqrt(3 * count)
        assert abs(float(whole.mean())) < allowed, f"the mean is {float(whole.mean()):.3g}"
        square = float(whole.square().mean()) / scale**2
        assert abs(square - 1 / 3) < 6 * 0.2982 / math.sqrt(count) + 2e-3, f"mean square {square:.4g}"
    return f"fill_random count={count}", check


def adjust_logits(device, rows, vocabulary, count):
    """Each operation is rounded to float32, so the bits are those of torch's, one operation a time."""
    def check(rng):
        api = device.api
        logits = device.random(rng, rows, vocabulary, dtype=torch.float32, scale=5)
        chosen = sorted(rng.sample(range(rows), (rows + 1) // 2), key=lambda _: rng.random())
        places, adjustments, tokens = [], [], []
        for row in chosen:
            mine = rng.sample(range(-2, vocabulary + 2), min(rng.randint(0, count), vocabulary))
            places.append(struct(api.EbbCudaAdjustedRow, begin=len(adjustments), count=len(mine),
                                 row=row))
            for token in mine:
                tokens.append((row, token))
                adjustments.append(struct(
                    api.EbbCudaLogitAdjustment, token_id=token, bias=rng.choice([0, rng.gauss(0, 9)]),
                    repetition=rng.choice([1, rng.uniform(0.01, 3)]),
                    penalty=rng.choice([0, rng.gauss(0, 2)])))
        expected = logits.cpu().clone()
        kept = [i for i, (_, token) in enumerate(tokens) if 0 <= token < vocabulary]
        at = tuple(torch.tensor([tokens[i][k] for i in kept], dtype=torch.int64) for k in (0, 1))
        bias, repetition, penalty = (
            torch.tensor([getattr(adjustments[i], name) for i in kept], dtype=torch.float32)
            for name in ("bias", "repetition", "penalty"))
        raw = expected[at]
        x = raw + bias
        expected[at] = torch.where(x > 0, x / repetition, x * repetition) - penalty
        # Placeholders where there is nothing: an array of no elements has no address.
        before = device.guarded((len(adjustments) + 1,), torch.float32)
        before.tensor.zero_()
        device_places = device.structs((api.EbbCudaAdjustedRow * len(places))(*places))
        adjustments.append(struct(api.EbbCudaLogitAdjustment))
        device_adjustments = device.structs(
            (api.EbbCudaLogitAdjustment * len(adjustments))(*adjustments))
        device.run("adjust_logits", struct(
            api.EbbCudaAdjustLogits, logits=logits, rows=device_places,
            adjustments=device_adjustments, before=before, row_count=len(places), count_max=count,
            vocabulary=vocabulary))
        assert torch.equal(logits.cpu(), expected), "a logit has other bits"
        told = before.check("before").cpu()
        assert torch.equal(told[kept], raw), "what was before is told wrongly"
    return f"adjust_logits rows={rows} vocabulary={vocabulary} count={count}", check


def small_cases(device):
    """Enough to exercise every check on the fake, which emulates each thread."""
    yield [embed(device, 3, 40)]
    yield [rms_norm(device, 3, 72, gathered) for gathered in (False, True)]
    yield [swiglu(device, 3, 40)]
    yield [linear(device, *shape) for shape in ((1, 24, 72, 0), (5, 40, 40, 0), (3, 24, 40, 1),
                                                (20, 72, 72, 0))]
    yield [linear_row_bits(device, 24, 40)]
    yield [rope_store(device, 4, 2, 32, 8, layout, bias=i == 1, norms=i == 2)
           for i, layout in enumerate(LAYOUTS)]
    yield [prefill_attention(device, 4, 2, 32, 8, layout, [(0, 5), (9, 12)]) for layout in LAYOUTS]
    yield [decode_attention(device, 4, 2, 32, 8, layout, [5, 0, 33], 16) for layout in LAYOUTS]
    yield [fill_random(device, 1003)]
    yield [adjust_logits(device, 5, 50, 20)]
    yield check_sample.cases_of(device, vocabularies=(50, 300), rows=3)


def all_cases(device):
    yield [embed(device, rows, width) for rows in (1, 3, 17, 513) for width in (8, 40, 576, 4096)]
    yield [rms_norm(device, rows, width, gathered) for rows in (1, 5, 130)
           for width in (8, 72, 576, 2048, 4096, 8192) for gathered in (False, True)]
    yield [swiglu(device, rows, width) for rows in (1, 5, 130) for width in (8, 72, 1536, 14336)]
    yield [linear(device, rows, outputs, inputs, invariant)
           for outputs, inputs in ((8, 8), (24, 72), (136, 40), (576, 1536), (4096, 4096),
                                   (1000, 14336), (6144, 4096))
           for rows in (1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 33, 64, 65, 127, 300) for invariant in (0, 1)]
    yield [linear_row_bits(device, outputs, inputs)
           for outputs, inputs in ((24, 72), (1536, 576), (4096, 4096))]
    shapes = [(1, 1, 64), (4, 2, 32), (9, 3, 64), (8, 8, 96), (14, 2, 64), (32, 8, 128), (28, 4, 128)]
    yield [rope_store(device, *shape, block, layout, bias=(i + j) % 2 == 1, norms=(i + j) % 3 == 1)
           for i, shape in enumerate(shapes) for j, block in enumerate((8, 16, 64, 256))
           for layout in LAYOUTS]
    chunks = ([(0, 1)], [(0, 65), (3, 2)], [(130, 70), (0, 17), (1000, 1)], [(700, 333)])
    yield [prefill_attention(device, *shape, block, LAYOUTS[i % 3], list(rows))
           for rows in chunks for i, shape in enumerate(shapes) for block in (8, 16, 64, 256)]
    lengths = ([1], [16, 0, 257], [1000, 1, 31, 0, 64], [5000, 17])
    yield [decode_attention(device, *shape, block, LAYOUTS[i % 3], list(some), split)
           for some in lengths for i, shape in enumerate(shapes) for block in (8, 16, 64, 256)
           for split in (256, 512)]
    yield [fill_random(device, count) for count in (1, 1003, 1 << 20)]
    yield [adjust_logits(device, *shape) for shape in ((1, 8, 1), (17, 1000, 300),
                                                       (64, 128256, 5000))]
    yield check_sample.cases_of(device, vocabularies=(8, 1000, 49152, 128256), rows=17)


def main():
    parser = cases.argument_parser(__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="few and small cases, for the fake")
    options = parser.parse_args()
    device = Device(options.library)
    groups = small_cases(device) if options.small else all_cases(device)
    return cases.run(cases.round_robin(groups, options.seed), options)


if __name__ == "__main__":
    sys.exit(main())
