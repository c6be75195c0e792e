"""What the measures of memory share: servers of the same binary, and loads sent to them by `ebb bench`.

The programs run what `bazel build //server:ebb_server //cli:ebb` left in bazel-bin. Nothing else
should run on the machine meanwhile; figures are compared within one run.
"""

import argparse
import csv
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = pathlib.Path.home() / ".cache/ebb/models/SmolLM2-135M-Instruct.Q4_1.gguf"
MIB = 1 << 20
READY_SECONDS = 120
LIMIT_BYTES = 512 * MIB
# More than the loads here ever need, so that neither server ever preempts.
COMMON = [f"memory.limit_bytes={LIMIT_BYTES}", "sharing.enabled=false", "log.windows=false",
          "prefix_cache.enabled=false"]  # What is held is compared with what is needed.
STATIC = [f"memory.keep_bytes={LIMIT_BYTES}"]


def say(text):
    print(text, file=sys.stderr, flush=True)


def parser(doc):
    """A command's options that every measure has."""
    # Ended from outside, a measure still ends its servers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    made = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--model", default=str(MODEL))
    made.add_argument("--config", action="append", default=[], metavar="FILE",
                      help="measure this configuration too; may be given again")
    return made


class Server:
    """One server process, ready, ended by its own process id. A context manager."""

    def __init__(self, name, model, config=None, settings=()):
        self.name = name
        command = [str(ROOT / "bazel-bin/server/ebb_server"), "--model", model,
                   "--listen", "127.0.0.1:0"]
        if config:
            command += ["--config", config]
        for setting in [*COMMON, *settings]:
            command += ["--set", setting]
        started = time.monotonic()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True, cwd=ROOT)
        try:
            self.ready = self._wait_ready(started)
        except BaseException:
            self.close()
            raise
        self.ready_seconds = time.monotonic() - started
        # Whoever reads nothing makes the server wait.
        self.drain = subprocess.Popen(["cat"], stdin=self.process.stdout, stdout=subprocess.DEVNULL)

    def _wait_ready(self, started):
        last = ""
        for line in self.process.stdout:
            last = line
            if '"event":"ready"' in line:
                return json.loads(line)
            if time.monotonic() - started > READY_SECONDS:
                break
        raise SystemExit(f"server {self.name} did not become ready; its last words: {last.strip()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.process.terminate()
        self.process.wait()

    def ebb(self, *args):
        """The answer of an `ebb` command to this server."""
        command = [str(ROOT / "bazel-bin/cli/ebb"), "--address", self.ready["address"],
                   *map(str, args), "--json"]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True,
                                         cwd=ROOT).stdout)

    def bench(self, *args):
        """Figures of a load all of whose requests were answered."""
        figures = self.ebb("bench", "--in-flight-max", 100000, *args)
        requests = figures["requests"]
        if requests["ok"] != requests["scheduled"]:
            raise SystemExit(f"server {self.name}: {requests} {figures['errors']}")
        return figures

    def memory(self):
        return self.ebb("memory")

    def resident_bytes(self):
        with open(f"/proc/{self.process.pid}/status", encoding="utf-8") as file:
            for line in file:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
        raise SystemExit(f"server {self.name} has ended")

    def wait_idle(self, seconds=30):
        """Until held memory has stood still for longer than any timer of the default settings."""
        last, since = None, time.monotonic()
        end = since + seconds
        while time.monotonic() < end:
            held = self.memory()["held_bytes"]
            if held != last:
                last, since = held, time.monotonic()
            if time.monotonic() - since > 6:
                return
            time.sleep(0.2)


def start_all(args, settings=()):
    """Servers by name: the defaults, each --config, and the static pool of the same binary."""
    servers = {"default": Server("default", args.model, settings=settings)}
    for config in args.config:
        name = pathlib.Path(config).stem
        servers[name] = Server(name, args.model, os.path.abspath(config), settings)
    servers["static"] = Server("static", args.model, settings=[*STATIC, *settings])
    return servers


def scaling():
    return json.loads((ROOT / "bench/data/scaling.json").read_text())


class TraceLoad:
    """The first requests of an excerpt in bench/data, scaled as scaling.json says."""

    def __init__(self, name, requests):
        self.name = name
        self.requests = requests
        self.path = ROOT / "bench/data" / f"{name}.csv"
        scale = scaling()["traces"][name]
        self.scale = ["--length-divisor", scale["length_divisor"],
                      "--length-max", scale["length_max"]]
        with open(self.path, encoding="utf-8") as file:
            rows = list(csv.DictReader(file))[:requests]
        self.rate = (len(rows) - 1) / float(rows[-1]["arrival_s"])

    def arguments(self, speed):
        return ["--trace", self.path, "--requests-max", self.requests, "--trace-speed", speed,
                *self.scale]

    def fit(self, server):
        """Measures what the server can do with all requests at once; returns the load's arguments."""
        figures = server.bench(*self.arguments(1e6), "--memory-interval-ms", 0)
        capacity = figures["throughput"]["requests_per_second"]
        speed = capacity * scaling()["capacity_percent"] / 100 / self.rate
        say(f"  {self.name}: {capacity:.2f} requests/s at most, so {speed:.3f} times as fast")
        return self.arguments(f"{speed:.6f}")


def stop_all(servers):
    for server in servers.values():
        server.close()
