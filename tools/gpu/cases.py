"""Named cases, run one after the other: each prints one line, "ok NAME", "FAIL NAME: why" or
"skip NAME: why", and runner.py counts them. A failed case does not end the others, a lost device
does."""
import argparse
import itertools
import os
import random
import time
import traceback

import ebb_cuda


class Skip(Exception):
    """The case cannot run here; the text says why."""


def argument_parser(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--library", required=True, help="libebb_cuda.so, or the fake")
    parser.add_argument("--seconds", type=float, default=60, help="start no case after so long")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    seed = int(os.environ.get("SEED", time.time_ns() % 10**9))
    parser.add_argument("--seed", type=int, default=seed)
    return parser


def round_robin(groups, seed):
    """One case of each group in turn, each group in an order of the seed's, so that little time still
    touches everything."""
    shuffled = [random.Random(seed).sample(group, len(group)) for group in groups]
    for row in itertools.zip_longest(*shuffled):
        yield from (case for case in row if case is not None)


def run(cases, options):
    """Runs (name, function) pairs; each function is given a random.Random of its own, and may give a
    figure worth telling. Gives the exit status."""
    print(f"seed {options.seed} (replay: SEED={options.seed})", flush=True)
    end = time.monotonic() + options.seconds
    counts = {"ok": 0, "FAIL": 0, "skip": 0}
    for name, function in cases:
        if options.only not in name:
            continue
        if time.monotonic() > end:
            counts["skip"] += 1
            print(f"skip {name}: no time left", flush=True)
            continue
        word, why = _run_one(function, random.Random(f"{options.seed} {name}"))
        counts[word] += 1
        print(f"{word} {name}" + (f": {why}" if why else ""), flush=True)
        if "DEVICE_LOST" in why:
            print("FAIL the device is lost; nothing more can run in this process", flush=True)
            break
    print(", ".join(f"{count} {word}" for word, count in counts.items()), flush=True)
    return 1 if counts["FAIL"] or not counts["ok"] + counts["skip"] else 0


def _run_one(function, rng):
    try:
        return "ok", function(rng) or ""
    except Skip as skip:
        return "skip", str(skip)
    except (AssertionError, ebb_cuda.ApiError) as error:
        return "FAIL", " ".join(str(error).split())
    except Exception:  # A mistake of the check's own must not hide the other cases.
        last = traceback.format_exc().splitlines()[-3:]
        return "FAIL", "the check itself failed: " + " | ".join(last)
