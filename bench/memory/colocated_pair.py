#!/usr/bin/env python3
"""E3 on real servers: two of them over one device's memory, under load in antiphase.

    bazel build //server:ebb_server //cli:ebb
    python3 bench/memory/colocated_pair.py [--seconds 40]

Capacity: the keys and values of 8 sequences of 1k tokens, and workspaces. 8 requests of 768 to 1,024
tokens are kept in flight at one server for half of each period of 20 s, then at the other (`ebb
bench`, more arrivals than can be answered). Elastic (one ledger, no floors, equal weights), then
static splits 4:4, 2:6 and 6:2 (limits of their own, sharing off), one after the other. Good: the
first token within 10 s, a token each 500 ms on average (`--ttft-ms`, `--tpot-ms`).

All of it shares the host's cores, the clients too: compare the rows, not the figures.
The exit code is 1 when a static split had more good answers than the elastic pair.
"""

import argparse
import sys
import tempfile
import time

import real_servers as rs

SEQUENCES = 8
PERIOD_SECONDS = 20


def load(arguments, server, seed):
    return rs.Bench(arguments, server, {
        "square": f"0:20:{PERIOD_SECONDS}", "duration-seconds": arguments.seconds,
        "in-flight-max": SEQUENCES, "prompt-tokens": "640:768", "output-tokens": "128:256",
        "slo-ttft-ms": arguments.ttft_ms, "slo-tpot-ms": arguments.tpot_ms, "seed": seed})


def run(arguments, directory, name, sets):
    servers = [rs.Server(arguments, f"{directory}/{name}-{i}.log".replace(":", "-"), sets[i])
               for i in range(2)]
    try:
        first = load(arguments, servers[0], 1)
        time.sleep(PERIOD_SECONDS / 2)
        second = load(arguments, servers[1], 2)
        reports = [first.report(), second.report()]
    finally:
        codes = [server.end() for server in servers]
    good = [report["slo"]["good_requests"] if report else 0 for report in reports]
    answered = sum(report["requests"]["ok"] if report else 0 for report in reports)
    failed = sum(report["requests"]["failed"] if report else 0 for report in reports)
    print(f"{name:12} {answered:9} {good[0]:6} {good[1]:6} {sum(good):6} {failed:7}  "
          f"{'' if codes == [0, 0] else codes}", flush=True)
    return sum(good)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=40, help="of sending, for each row")
    parser.add_argument("--ttft-ms", type=int, default=10000)
    parser.add_argument("--tpot-ms", type=int, default=500)
    rs.add_arguments(parser)
    arguments = parser.parse_args()
    capacity = SEQUENCES * rs.SEQUENCE_BYTES + 2 * rs.WORKSPACE_BYTES
    print(f"{'memory':12} {'answered':>9} {'good':>6} {'good':>6} {'sum':>6} {'failed':>7}")
    with tempfile.TemporaryDirectory() as directory:
        shared = {"sharing.path": directory, "sharing.capacity_bytes": capacity,
                  "memory.limit_bytes": capacity - rs.WORKSPACE_BYTES}
        elastic = run(arguments, directory, "elastic", [shared, shared])
        best = 0
        for part in (4, 2, 6):
            limits = [count * rs.SEQUENCE_BYTES + rs.WORKSPACE_BYTES
                      for count in (part, SEQUENCES - part)]
            sets = [{"sharing.enabled": "false", "memory.limit_bytes": limit} for limit in limits]
            best = max(best, run(arguments, directory, f"{part}:{SEQUENCES - part}", sets))
    print(f"elastic / best static split: {elastic / max(1, best):.2f} (goal: at least 1)")
    return 0 if elastic >= best else 1


if __name__ == "__main__":
    sys.exit(main())
