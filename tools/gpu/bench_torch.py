"""The operations of kernel_bench as PyTorch does them, under the same names: a peer on the same
device in the same run.

    python3 bench_torch.py --json FILE

Times as there: a captured graph of several launches divided by their number, the median of 20
replays; launches rotate over copies of what they read that together exceed the L2 cache fourfold.
PyTorch's attention is given keys and values as dense tensors, one length for all sequences."""
import argparse
import json
import sys

import torch
import torch.nn.functional as functional

WIDTH, FFN_WIDTH, HEADS, KV_HEADS, HEAD_DIM, VOCAB = 4096, 14336, 32, 8, 128, 128256
ROUNDS = 20
LAUNCHES_MAX = 64


def copies_of(size_bytes):
    l2_bytes = torch.cuda.get_device_properties(0).L2_cache_size
    return max(1, min(LAUNCHES_MAX, 4 * l2_bytes // max(1, size_bytes) + 1))


def median_us(launch, copies):
    """Of one launch(copy)."""
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for copy in range(copies):
            launch(copy)
    torch.cuda.synchronize()
    launches = max(copies, 16)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=side):
        for i in range(launches):
            launch(i % copies)
    times = []
    for i in range(ROUNDS + 3):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        if i >= 3:
            times.append(begin.elapsed_time(end) * 1e3 / launches)
    return sorted(times)[ROUNDS // 2]


def random(*shape, scale=1.0):
    return torch.randn(*shape, device="cuda", dtype=torch.bfloat16) * scale


def linear(rows, outputs, inputs):
    copies = copies_of(2 * outputs * inputs)
    weights = [random(outputs, inputs, scale=0.02) for _ in range(copies)]
    x = random(rows, inputs)
    return median_us(lambda copy: functional.linear(x, weights[copy]), copies)


def attention(sequences, rows, context, causal):
    """rows queries of each sequence."""
    copies = copies_of(4 * sequences * context * KV_HEADS * HEAD_DIM)
    q = random(sequences, HEADS, rows, HEAD_DIM)
    keys, values = ([random(sequences, KV_HEADS, context, HEAD_DIM) for _ in range(copies)]
                    for _ in range(2))
    return median_us(lambda copy: functional.scaled_dot_product_attention(
        q, keys[copy], values[copy], is_causal=causal, enable_gqa=True), copies)


def rms_norm(rows):
    copies = copies_of(4 * rows * WIDTH)
    x = [random(rows, WIDTH) for _ in range(copies)]
    weight = random(WIDTH)
    return median_us(lambda copy: functional.rms_norm(x[copy], (WIDTH,), weight), copies)


def cases():
    qkv = (HEADS + 2 * KV_HEADS) * HEAD_DIM
    for rows in (1, 8, 64, 2048):
        yield f"rms_norm rows={rows}", lambda rows=rows: rms_norm(rows)
        for what, outputs, inputs in (("qkv", qkv, WIDTH), ("attention out", WIDTH, HEADS * HEAD_DIM),
                                      ("gate and up", 2 * FFN_WIDTH, WIDTH),
                                      ("down", WIDTH, FFN_WIDTH), ("head", VOCAB, WIDTH)):
            if what != "head" or rows <= 64:
                yield (f"linear {what} rows={rows}",
                       lambda rows=rows, shape=(outputs, inputs): linear(rows, *shape))
    for sequences in (1, 8, 64):
        yield (f"decode attention {sequences} at 1024",
               lambda sequences=sequences: attention(sequences, 1, 1024, causal=False))
    for rows in (2048, 8192, 16384):
        yield f"prefill attention {rows}", lambda rows=rows: attention(1, rows, rows, causal=True)


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", required=True, help="write the figures there, one object a line")
    options = parser.parse_args()
    torch.manual_seed(1)
    with open(options.json, "w", encoding="utf-8") as out:
        for name, measure in cases():
            figure = {"name": name, "median_us": measure(), "peer": f"PyTorch {torch.__version__}"}
            print(f"{name:40} {figure['median_us']:10.1f} us", flush=True)
            out.write(json.dumps(figure) + "\n")
            torch.cuda.empty_cache()


if __name__ == "__main__":
    sys.exit(main())
