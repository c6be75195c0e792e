"""Compares decode_bench with llama.cpp (llama-cpp-python) on the same file in the same run.

    bench/against_llama_cpp        # makes the environment, builds both and calls this

The two take turns (ours, theirs, ours, theirs, ...), each round in a process of its own. Both
measure alike: prefill of 512 random tokens with logits for the last, the fastest of a round's
runs; decode of S sequences, each behind its own context of 128 tokens, one token a sequence in a
step and logits for all, the lower quartile of the steps. KV cache in f16, flash attention left as
llama.cpp chooses. The median of the rounds is printed, and the ratio ours / theirs.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time


def load_llama_cpp(lib, model_path):
    lib.llama_backend_init()
    model = lib.llama_model_load_from_file(model_path.encode(), lib.llama_model_default_params())
    if not model:
        sys.exit(f"llama.cpp cannot load {model_path}")
    return model


class LlamaCpp:
    """llama.cpp through its C interface: one context, batches made by hand."""

    def __init__(self, lib, model, threads, tokens_per_sequence, batch_tokens, sequences):
        self.lib = lib
        self.model = model
        params = lib.llama_context_default_params()
        params.n_ctx = sequences * tokens_per_sequence
        params.n_batch = batch_tokens
        params.n_ubatch = batch_tokens
        params.n_seq_max = sequences
        params.n_threads = threads
        params.n_threads_batch = threads
        self.context = lib.llama_init_from_model(self.model, params)
        if not self.context:
            sys.exit("llama.cpp cannot make a context")
        self.vocab = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(self.model))
        self.batch = lib.llama_batch_init(batch_tokens, 0, 1)

    def close(self):
        self.lib.llama_batch_free(self.batch)
        self.lib.llama_free(self.context)

    def clear(self):
        self.lib.llama_memory_clear(self.lib.llama_get_memory(self.context), True)

    def drop_from(self, sequence, position):
        memory = self.lib.llama_get_memory(self.context)
        self.lib.llama_memory_seq_rm(memory, sequence, position, -1)

    def decode(self, rows):
        """rows: (token, position, sequence, wants_logits). Gives the seconds."""
        for i, (token, position, sequence, wants_logits) in enumerate(rows):
            self.batch.token[i] = token
            self.batch.pos[i] = position
            self.batch.n_seq_id[i] = 1
            self.batch.seq_id[i][0] = sequence
            self.batch.logits[i] = 1 if wants_logits else 0
        self.batch.n_tokens = len(rows)
        begin = time.perf_counter()
        if self.lib.llama_decode(self.context, self.batch) != 0:
            sys.exit("llama_decode failed")
        self.lib.llama_synchronize(self.context)
        return time.perf_counter() - begin


def llama_cpp_steps(llama, args, sequences, rng):
    """Seconds of decode steps of one token for each sequence."""
    for s in range(sequences):
        llama.decode([(rng.randrange(llama.vocab), i, s, i == args.context - 1)
                      for i in range(args.context)])
    steps = []
    for _ in range(args.repeats):
        for t in range(args.steps):
            steps.append(llama.decode([(rng.randrange(llama.vocab), args.context + t, s, True)
                                       for s in range(sequences)]))
        for s in range(sequences):
            llama.drop_from(s, args.context)
    llama.close()
    return steps


def measure_llama_cpp(args):
    """One round; prints {"prefill 512": tokens/s, "decode 1": ...}."""
    import ctypes

    import llama_cpp as lib  # Only the child that measures it needs it.

    silent = lib.llama_log_callback(lambda level, text, data: None)
    lib.llama_log_set(silent, ctypes.c_void_p(0))
    model = load_llama_cpp(lib, args.model)
    rng = random.Random(1)
    results = {}
    # A context of its own for each measurement: none pays for another's size.
    llama = LlamaCpp(lib, model, args.threads, args.prefill, args.prefill, 1)
    seconds = []
    for _ in range(args.repeats + 1):
        llama.clear()
        seconds.append(llama.decode([(rng.randrange(llama.vocab), i, 0, i == args.prefill - 1)
                                     for i in range(args.prefill)]))
    llama.close()
    results[f"prefill {args.prefill}"] = args.prefill / min(seconds)
    for sequences in args.sequences:
        steps = llama_cpp_steps(LlamaCpp(lib, model, args.threads, args.context + args.steps,
                                         max(args.context, sequences), sequences),
                                args, sequences, rng)
        results[f"decode {sequences}"] = sequences / sorted(steps)[len(steps) // 4]
    print(json.dumps(results))


def run_json(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.decode().strip().splitlines()[-1])


def ours_command(args):
    return [args.ours, "--model", args.model, "--threads", str(args.threads),
            "--path", args.path, "--prefill", str(args.prefill), "--context", str(args.context),
            "--steps", str(args.steps), "--rounds", str(args.repeats),
            "--sequences", ",".join(map(str, args.sequences)), "--json"]


def compare(args):
    ours, theirs, hosts = [], [], []
    for i in range(args.rounds):
        host = run_json(ours_command(args))
        hosts.append(host)
        ours.append({name: r["tokens_per_s"] for name, r in host["results"].items()})
        theirs.append(run_json([sys.executable, __file__, "--measure-llama-cpp"] + sys.argv[1:]))
        print(f"round {i + 1} of {args.rounds} done", file=sys.stderr)
    rows = []
    for name in ours[0]:
        a = statistics.median(r[name] for r in ours)
        b = statistics.median(r[name] for r in theirs)
        gb = statistics.median(h["results"][name]["gb_per_s"] / h["read_gb_per_s"] for h in hosts)
        gmac = statistics.median(
            h["results"][name]["gmac_per_s"] / h["int8_gmac_per_s"] for h in hosts)
        rows.append({"name": name, "ours": a, "llama_cpp": b, "ratio": a / b,
                     "of_read_bandwidth": gb, "of_int8_peak": gmac})
    if args.json:
        print(json.dumps({"path": hosts[0]["path"], "threads": args.threads, "rows": rows}))
        return
    host = hosts[0]
    print(f"path {host['path']}, {args.threads} threads; read {host['read_gb_per_s']:.1f} GB/s, "
          f"int8 {host['int8_gmac_per_s']:.0f} GMAC/s; tokens/s")
    print(f"{'':14} {'ours':>10} {'llama.cpp':>10} {'ratio':>7} {'of read':>8} {'of peak':>8}")
    for row in rows:
        print(f"{row['name']:14} {row['ours']:10.1f} {row['llama_cpp']:10.1f} "
              f"{row['ratio']:7.2f} {row['of_read_bandwidth']:8.0%} {row['of_int8_peak']:8.0%}")


def main():
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--ours", default=os.path.join(root, "bazel-bin/bench/decode_bench"))
    parser.add_argument("--path", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3, help="within a round")
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--context", type=int, default=128)
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--sequences", type=lambda t: [int(s) for s in t.split(",")],
                        default=[1, 4, 16, 32])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure-llama-cpp", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure_llama_cpp:
        measure_llama_cpp(args)
    else:
        compare(args)


if __name__ == "__main__":
    main()
