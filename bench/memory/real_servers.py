"""Real servers that share one device's memory, for the benches beside this file.

Each server runs on loopback, on a port of its own choice, with its log in a file; processes are
ended by their pid.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = "~/.cache/ebb/models/SmolLM2-135M-Instruct.Q4_1.gguf"
MIB = 1 << 20
# Keys and values of a sequence of 1k tokens of SmolLM2 in f16: 4 pages; what both lanes'
# workspaces of one server take with these settings, at most.
SEQUENCE_BYTES = 24 * MIB
WORKSPACE_BYTES = 24 * MIB
READY_SECONDS = 60


def add_arguments(parser):
    parser.add_argument("--model", default=os.path.expanduser(MODEL))
    parser.add_argument("--server", default=str(ROOT / "bazel-bin/server/ebb_server"))
    parser.add_argument("--cli", default=str(ROOT / "bazel-bin/cli/ebb"))
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                        help="a further setting of every server; may be given again")


class Server:
    """An ebb_server of configs/cpu.json with one thread and at most 16 running sequences."""

    def __init__(self, arguments, log, sets):
        self.log = pathlib.Path(log)
        sets = {
            "kernels.threads": 1,
            "memory.headroom_bytes": 0,
            "scheduler.running_sequences_max": 16,
            "scheduler.logits_rows_max": 1,
            **sets,
            **dict(setting.split("=", 1) for setting in arguments.set),
        }
        command = [arguments.server, "--config", str(ROOT / "configs/cpu.json")]
        command += ["--model", arguments.model, "--listen", "127.0.0.1:0"]
        for name, value in sets.items():
            command += ["--set", f"{name}={value}"]
        with open(self.log, "ab") as out, open(str(self.log) + ".errors", "ab") as errors:
            self.process = subprocess.Popen(command, stdout=out, stderr=errors)
        self.address = self._wait_for("ready")["address"]

    def _wait_for(self, event):
        for _ in range(READY_SECONDS * 100):
            for line in self.lines(event):
                return line
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        sys.exit(f"no {event} line in {self.log}; see {self.log}.errors")

    def lines(self, event):
        """The log's lines of this kind; the last line may still be being written."""
        found = []
        with open(self.log, encoding="utf-8") as log:
            for line in log:
                if f'"{event}"' in line and line.endswith("\n"):
                    record = json.loads(line)
                    if record.get("event") == event:
                        found.append(record)
        return found

    def send(self, number):
        os.kill(self.process.pid, number)

    def end(self):
        """Its exit code after a drain; the negative signal number where it did not end by itself."""
        if self.process.poll() is None:
            self.send(signal.SIGCONT)
            self.send(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.send(signal.SIGKILL)
        return self.process.wait()


class Bench:
    """An `ebb bench` that runs beside us."""

    def __init__(self, arguments, server, options):
        command = [arguments.cli, "--address", server.address, "bench", "--json"]
        command += ["--memory-interval-ms", "0"]
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def report(self):
        """What it measured; nothing when no request was answered and it says so by its exit code."""
        out, _ = self.process.communicate()
        return json.loads(out) if out else None

    def running(self):
        return self.process.poll() is None


def ledger(arguments, directory):
    """The entries of the one ledger there, by pid."""
    out = subprocess.run([arguments.cli, "share", "--path", directory, "--json"],
                         check=True, capture_output=True).stdout
    devices = json.loads(out)["devices"]
    return {entry["pid"]: entry for device in devices for entry in device["servers"]}


def percentile(values, part):
    """By nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * part // 100) - 1)] if ordered else float("nan")
