"""Compares scheduler.queues=separate and =one: the same arrivals, in turns, on servers of their own.

    bazel build //server:ebb_server //cli:ebb
    python3 bench/compare_queues.py --model FILE --rate 2 --rounds 3

Each turn starts a server of --config, warms it, and sends a Poisson load with `ebb bench`: prompts
of 100 to 800 tokens, answers of 32 to 160. A round's seed fixes its arrivals, lengths and prompts
for both. Printed is the median over the rounds, and one / separate.
"""

import argparse
import json
import statistics
import subprocess
import sys

SERVER = "bazel-bin/server/ebb_server"
CLIENT = "bazel-bin/cli/ebb"
LENGTHS = ["--prompt-tokens", "100:800", "--output-tokens", "32:160"]
QUEUES = ("separate", "one")
FIGURES = {
    "ttft p50, ms": lambda r: r["ttft_seconds"]["p50"] * 1e3,
    "ttft p99, ms": lambda r: r["ttft_seconds"]["p99"] * 1e3,
    "token gap p50, ms": lambda r: r["token_gap_seconds"]["p50"] * 1e3,
    "token gap p99, ms": lambda r: r["token_gap_seconds"]["p99"] * 1e3,
    "token gap max, ms": lambda r: r["token_gap_seconds"]["max"] * 1e3,
    "total p50, ms": lambda r: r["total_seconds"]["p50"] * 1e3,
    "output tokens/s": lambda r: r["throughput"]["output_tokens_per_second"],
    "held / needed": lambda r: r["memory"]["held_over_needed"],
}


class Server:
    """A server of one form of queues, ready; it ends with the `with`."""

    def __init__(self, args, queues):
        self.command = [SERVER, "--config", args.config, "--model", args.model,
                        "--set", "server.listen=127.0.0.1:0", "--set", "sharing.enabled=false",
                        # The same prompts come again and again.
                        "--set", "prefix_cache.enabled=false",
                        "--set", f"scheduler.queues={queues}"]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            event = json.loads(line)
            if event.get("event") == "ready":
                self.address = event["address"]
                # The log must be read, or the server would wait for its reader.
                self.reader = subprocess.Popen(["cat"], stdin=self.process.stdout,
                                               stdout=subprocess.DEVNULL)
                return self
        raise SystemExit("the server did not become ready")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.reader.wait()

    def bench(self, rate, seconds, seed):
        out = subprocess.run([CLIENT, "bench", "--address", self.address, "--json",
                              "--rate", str(rate), "--duration-seconds", str(seconds),
                              "--seed", str(seed), *LENGTHS],
                             check=True, capture_output=True, text=True)
        report = json.loads(out.stdout)
        if report["requests"]["failed"] or report["requests"]["not_sent"]:
            raise SystemExit(f"requests failed: {report['errors']}")
        return report


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--config", default="configs/cpu.json")
    parser.add_argument("--rate", type=float, required=True, help="requests per second")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30, help="of one turn")
    args = parser.parse_args()

    reports = {queues: [] for queues in QUEUES}
    for round_number in range(args.rounds):
        for queues in QUEUES if round_number % 2 == 0 else reversed(QUEUES):
            with Server(args, queues) as server:
                server.bench(args.rate, 3, seed=1000 + round_number)
                report = server.bench(args.rate, args.seconds, seed=1 + round_number)
            reports[queues].append(report)
            figures = ", ".join(f"{name} {figure(report):.2f}" for name, figure in FIGURES.items())
            print(f"round {round_number + 1}, {queues}: {figures}", file=sys.stderr)
    count = sum(r["requests"]["ok"] for r in reports["one"])
    print(f"{args.rate} requests/s, {args.rounds} rounds of {args.seconds} s, {count} requests each")
    print(f"{'':20}{'separate':>12}{'one':>12}{'ratio':>8}")
    for name, figure in FIGURES.items():
        separate, one = (statistics.median(map(figure, reports[q])) for q in QUEUES)
        print(f"{name:20}{separate:12.2f}{one:12.2f}{one / separate:8.2f}")


if __name__ == "__main__":
    main()
