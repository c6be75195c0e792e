#!/usr/bin/env python3
"""E7: two real servers that want more memory than there is, for long; one is killed, one is stopped.

    bazel build //server:ebb_server //cli:ebb
    python3 bench/memory/exhaustion_soak.py [--minutes 30] [--keep DIRECTORY] [--set NAME=VALUE]...

Capacity: the keys and values of 4 sequences of 1k tokens, and workspaces. For 10 s of every 20 s each
server gets more requests of 160 to 512 tokens than it can answer (`ebb bench`, 16 in flight, which is
more than all memory), and nothing in the others, the second 5 s after the first: so memory is short,
and goes back and forth. In the middle one is killed with -9 and started again; then one is stopped
with SIGSTOP for 20 s at least and goes on.

Prints: failed requests (the killed server's own, cut off with it, apart), server exits that nobody
asked for, Jain's index over both servers' goodput while both are there, hand-overs (the servers' own
`handed_over` lines: from the look at which a share was lacking until it had come), and what kill and
stop did, beside the goals. The exit code is 1 when requests failed, a server died, or a goal is missed.
"""

import argparse
import contextlib
import pathlib
import signal
import sys
import tempfile
import time

import real_servers as rs

CAPACITY_BYTES = 4 * rs.SEQUENCE_BYTES + 2 * rs.WORKSPACE_BYTES
LOAD = {"square": "0:20:20", "in-flight-max": 16, "prompt-tokens": "128:384",
        "output-tokens": "32:128"}
SHIFT_SECONDS = 5
STOP_SECONDS = 20
JAIN_GOAL = 0.9
HANDOVER_GOAL_MS = 200
KILL_GOAL_SECONDS = 1


class Soak:
    def __init__(self, arguments, directory):
        self.arguments = arguments
        self.directory = directory
        self.servers = []
        self.starts = 0
        self.failed = self.cut_off = self.answered = self.aborts = 0
        self.errors = []
        self.jains = []
        self.handovers = []

    def start(self):
        self.starts += 1
        return rs.Server(self.arguments, f"{self.directory}/server{self.starts}.log", {
            "sharing.path": self.directory, "sharing.capacity_bytes": CAPACITY_BYTES,
            "memory.limit_bytes": CAPACITY_BYTES})

    def load(self, index, seconds):
        options = {**LOAD, "duration-seconds": seconds, "seed": 2 * self.starts + index + 1}
        return rs.Bench(self.arguments, self.servers[index], options)

    def both(self, seconds):
        first = self.load(0, seconds)
        time.sleep(SHIFT_SECONDS)
        return [first, self.load(1, seconds)]

    def count(self, report, cut_off=False):
        """Adds a report's answers and failures. Its answers a second."""
        if report is None:
            return 0
        self.answered += report["requests"]["ok"]
        if cut_off:
            self.cut_off += report["requests"]["failed"]
        else:
            self.failed += report["requests"]["failed"]
            self.errors += [f"{code}: {error}" for code, error in report["errors"].items()]
        return report["throughput"]["output_tokens_per_second"]

    def steady(self, seconds):
        """Both under load. Jain's index over what each made, in tokens a second."""
        loads = self.both(seconds)
        rates = [self.count(load.report()) for load in loads]
        self.check_alive()
        jain = sum(rates) ** 2 / (2 * sum(rate * rate for rate in rates)) if sum(rates) else 0
        self.jains.append(jain)
        say(f"steady for {seconds:.0f} s: {rates[0]:.0f} and {rates[1]:.0f} tokens/s, Jain {jain:.3f}")

    def check_alive(self):
        for server in self.servers:
            if server.process.poll() is not None:
                self.aborts += 1
                sys.exit(f"a server ended by itself, with {server.process.returncode}: {server.log}.errors")

    def entry(self, index):
        """The server's seat in the ledger; nothing when it has none."""
        return rs.ledger(self.arguments, self.directory).get(self.servers[index].process.pid)

    def kill(self, seconds):
        """Seconds from kill -9 of the second until what it held is the first's, that wants it."""
        loads = self.both(seconds)
        while any(load.running() for load in loads):
            first, second = self.entry(0), self.entry(1)
            if first["wanted_bytes"] >= CAPACITY_BYTES and second["held_bytes"] > CAPACITY_BYTES / 4:
                break
        self.servers[1].send(signal.SIGKILL)
        begun = time.monotonic()
        while time.monotonic() - begun < 10:
            first_now = self.entry(0)
            # All that it wants, but for what is no whole page.
            wanted = min(first_now["wanted_bytes"], CAPACITY_BYTES)
            if self.entry(1) is None and first_now["lease_bytes"] > wanted - 6 * rs.MIB:
                break
        took = time.monotonic() - begun
        self.servers[1].process.wait()
        self.count(loads[1].report(), cut_off=True)
        self.count(loads[0].report())
        self.handovers += handovers_of(self.servers[1])
        self.servers[1] = self.start()
        say(f"kill -9 of one with {second['held_bytes'] / rs.MIB:.0f} of {CAPACITY_BYTES / rs.MIB:.0f} MiB: "
            f"the other had leased {first['lease_bytes'] / rs.MIB:.0f}, and "
            f"{first_now['lease_bytes'] / rs.MIB:.0f} after {took * 1000:.0f} ms")
        return took

    def stop(self, seconds):
        """Tokens a second of the first while the second is stopped, and seconds until that one makes
        tokens again after it goes on."""
        stopped_load = self.load(1, seconds)
        before = self.load(0, seconds).report()
        self.servers[1].send(signal.SIGSTOP)
        begun = time.monotonic()
        during = self.load(0, STOP_SECONDS).report()
        stopped_seconds = time.monotonic() - begun
        rates = [self.count(before), self.count(during)]
        revision = self.entry(1)["revision"]
        self.servers[1].send(signal.SIGCONT)
        begun = time.monotonic()
        while self.entry(1)["revision"] == revision and time.monotonic() - begun < 10:
            pass
        took = time.monotonic() - begun
        self.count(stopped_load.report())
        self.check_alive()
        gap = during["token_gap_seconds"].get("max", float("inf"))
        say(f"SIGSTOP for {stopped_seconds:.0f} s: the other made {rates[0]:.0f} tokens/s before, {rates[1]:.0f} "
            f"during, its longest gap between two tokens {gap:.2f} s; SIGCONT: took part after "
            f"{took * 1000:.0f} ms")
        return rates

    def run(self, minutes):
        self.servers = [self.start() for _ in range(2)]
        # The middle third is the disturbances'.
        part = minutes * 60 / 6
        self.steady(2 * part)
        kill_seconds = self.kill(part / 2)
        self.steady(part)
        rates = self.stop(part / 2)
        self.steady(2 * part)
        codes = [server.end() for server in self.servers]
        self.aborts += sum(code != 0 for code in codes)
        for server in self.servers:
            self.handovers += handovers_of(server)
        return self.verdict(kill_seconds, rates)

    def verdict(self, kill_seconds, rates):
        p50, p99 = (rs.percentile(self.handovers, part) for part in (50, 99))
        rows = [
            ("failed requests", self.failed, 0, self.failed == 0),
            ("servers that died", self.aborts, 0, self.aborts == 0),
            ("least Jain's index", round(min(self.jains), 3), f">= {JAIN_GOAL}",
             min(self.jains) >= JAIN_GOAL),
            ("hand-over p50, ms", round(p50), "", True),
            ("hand-over p99, ms", round(p99), f"< {HANDOVER_GOAL_MS}", p99 < HANDOVER_GOAL_MS),
            ("a killed one's memory, s", round(kill_seconds, 3), f"< {KILL_GOAL_SECONDS}",
             kill_seconds < KILL_GOAL_SECONDS),
            ("tokens/s with one stopped", round(rates[1]), "> 0", rates[1] > 0),
        ]
        print(f"{self.answered} answers, {len(self.handovers)} hand-overs, "
              f"{self.cut_off} requests cut off with the killed server, or sent to it after")
        for name, value, goal, reached in rows:
            print(f"{name:28} {value:>10}   {goal!s:10} {'' if reached else 'MISSED'}")
        for error in self.errors:
            print(error)
        return all(reached for *_, reached in rows)


def handovers_of(server):
    return [line["took_ms"] for line in server.lines("handed_over")]


def say(text):
    print(time.strftime("%H:%M:%S"), text, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--keep", metavar="DIRECTORY", help="leave logs and ledger there")
    rs.add_arguments(parser)
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        directory = arguments.keep or stack.enter_context(tempfile.TemporaryDirectory())
        pathlib.Path(directory).mkdir(parents=True, exist_ok=True)
        soak = Soak(arguments, directory)
        stack.callback(lambda: [server.end() for server in soak.servers])
        return 0 if soak.run(arguments.minutes) else 1


if __name__ == "__main__":
    sys.exit(main())
