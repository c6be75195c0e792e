"""Cuts bench/data's excerpts out of public traces: CSV that `ebb bench --trace` reads.

usage: trace_excerpt.py azure FILE                        a CSV of AzurePublicDataset's LLM traces
       trace_excerpt.py mooncake FILE                     a JSON-lines trace of Mooncake
       trace_excerpt.py mooncake_prefixes FILE            the same, with its ids of prefix blocks
       trace_excerpt.py servegen WINDOWS_CSV PDFS_JSONL   a model's clients, merged (bench/data/README.md)
       options: --requests N (1000), and for servegen --start-seconds S (14400), --seed N (1)

Files may be compressed by gzip. Arrivals count from the first request. Writes to standard output.
"""
import argparse
import bisect
import csv
import datetime
import gzip
import itertools
import json
import random
import sys

WINDOW_SECONDS = 600  # ServeGen's clients have one rate and one cv for each window of this length.
PDF_WINDOW_SECONDS = 6 * 3600  # And one distribution of lengths for each of these.


def open_text(path):
    return gzip.open(path, "rt") if path.endswith(".gz") else open(path, encoding="utf-8")


def read_azure(path):
    with open_text(path) as file:
        for row in csv.DictReader(file):
            # Seven decimals of a second; datetime takes six.
            time = datetime.datetime.fromisoformat(row["TIMESTAMP"][:26])
            yield time.timestamp(), int(row["ContextTokens"]), int(row["GeneratedTokens"])


def read_mooncake(path):
    with open_text(path) as file:
        for line in file:
            row = json.loads(line)
            yield row["timestamp"] / 1000, row["input_length"], row["output_length"]


def ranges(numbers):
    """[0, 1, 2, 7] as "0-2 7"."""
    runs = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return " ".join(f"{first}-{last}" if last > first else f"{first}" for first, last in runs)


def read_mooncake_prefixes(path):
    """And the ids of the prompt's blocks of 512 tokens, the last one cut, numbered as they appear."""
    numbers = {}
    with open_text(path) as file:
        for line in file:
            row = json.loads(line)
            blocks = [numbers.setdefault(block, len(numbers)) for block in row["hash_ids"]]
            yield row["timestamp"] / 1000, row["input_length"], row["output_length"], ranges(blocks)


class LengthDistribution:
    """Draws from the text "{value: weight, ...}"."""

    def __init__(self, text):
        pairs = [pair.split(":") for pair in text.strip("{}").split(",")]
        self.values = [int(float(value)) for value, _ in pairs]
        self.sums = list(itertools.accumulate(float(weight) for _, weight in pairs))

    def draw(self, rng):
        return self.values[bisect.bisect_left(self.sums, rng.random() * self.sums[-1])]


def draw_gap(rng, client):
    """Seconds between two requests of a client, by the law and the parameters fitted to it."""
    shape, scale = float(client["param1"]), float(client["param2"])
    if client["pattern"] == "Gamma":
        return rng.gammavariate(shape, scale)
    if client["pattern"] == "Weibull":
        return rng.weibullvariate(scale, shape)
    raise ValueError(f"no such law: {client['pattern']}")


def draw_servegen(windows_path, pdfs_path, start_seconds, rng):
    """The requests of all clients in the window that starts then; each client is a renewal process."""
    with open_text(windows_path) as file:
        clients = [row for row in csv.DictReader(file)
                   if int(row["window_start_s"]) == start_seconds and float(row["rate_rps"]) > 0]
    if not clients:
        sys.exit(f"{windows_path}: no client sends in a window that starts at {start_seconds} s")
    pdf_start = start_seconds // PDF_WINDOW_SECONDS * PDF_WINDOW_SECONDS
    with open_text(pdfs_path) as file:
        pdfs = {int(row["client"]): row for row in map(json.loads, file)
                if row["window_start_s"] == pdf_start}
    for client in clients:
        pdf = pdfs[int(client["client"])]
        prompts = LengthDistribution(pdf["input_tokens"])
        outputs = LengthDistribution(pdf["output_tokens"])
        at = draw_gap(rng, client) * rng.random()  # The window opens somewhere within a gap.
        while at < WINDOW_SECONDS:
            yield at, prompts.draw(rng), outputs.draw(rng)
            at += draw_gap(rng, client)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("kind", choices=["azure", "mooncake", "mooncake_prefixes", "servegen"])
    parser.add_argument("files", nargs="+")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--start-seconds", type=int, default=14400)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if len(args.files) != (2 if args.kind == "servegen" else 1):
        parser.error("the number of files does not fit the kind")
    if args.kind == "azure":
        requests = list(itertools.islice(read_azure(args.files[0]), args.requests))
    elif args.kind == "mooncake":
        requests = list(itertools.islice(read_mooncake(args.files[0]), args.requests))
    elif args.kind == "mooncake_prefixes":
        requests = list(itertools.islice(read_mooncake_prefixes(args.files[0]), args.requests))
    else:
        requests = sorted(draw_servegen(*args.files, args.start_seconds, random.Random(args.seed)))
        requests = requests[:args.requests]
    names = ["arrival_s", "prompt_tokens", "output_tokens", "prefix_blocks"]
    print(",".join(names[:len(requests[0])]))
    for at, *rest in requests:
        print(f"{at - requests[0][0]:.3f}", *rest, sep=",")


if __name__ == "__main__":
    main()
