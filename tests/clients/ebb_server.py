"""Ebb's server for the client scripts beside this file: on loopback, on ports of its own choice."""

import argparse
import contextlib
import importlib
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
READY_SECONDS = 120


def arguments(doc):
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--server", default=str(ROOT / "bazel-bin/server/ebb_server"))
    parser.add_argument("--model", required=True)
    return parser.parse_args()


def stubs(name, folder):
    """The messages and the services of proto/NAME.proto, compiled into the folder."""
    from grpc_tools import protoc  # pylint: disable=import-outside-toplevel
    assert protoc.main(["protoc", f"-I{ROOT}", f"--python_out={folder}",
                        f"--grpc_python_out={folder}", f"proto/{name}.proto"]) == 0
    sys.path.insert(0, folder)
    return (importlib.import_module(f"proto.{name}_pb2"),
            importlib.import_module(f"proto.{name}_pb2_grpc"))


def run_checks(checks, *given):
    """Calls each with what is given; the first that fails ends the script with its traceback."""
    for check in checks:
        check(*given)
        print("ok", check.__name__, flush=True)


class Server:
    """Use it in a with statement. `grpc` and `http` are its addresses, HOST:PORT."""

    def __init__(self, options, *settings):
        self._directory = tempfile.TemporaryDirectory()
        self._log = pathlib.Path(self._directory.name) / "log"
        self._errors = pathlib.Path(self._directory.name) / "errors"
        command = [options.server, "--config", str(ROOT / "configs/cpu.json"),
                   "--model", options.model, "--listen", "127.0.0.1:0"]
        # Alone on this machine's memory, whoever else shares some.
        for setting in ["sharing.enabled=false", *settings]:
            command += ["--set", setting]
        with open(self._log, "wb") as out, open(self._errors, "wb") as errors:
            self.process = subprocess.Popen(command, stdout=out, stderr=errors)
        ready = self._wait_for_ready()
        self.grpc = ready["address"]
        self.http = ready.get("http_address", "")

    def _wait_for_ready(self):
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            lines = self.lines("ready")
            if lines:
                return lines[0]
            time.sleep(0.05)
        self.process.kill()
        self.process.wait()
        raise SystemExit(f"the server is not ready: {self._errors.read_text()}")

    def lines(self, event):
        """The log's lines of this event, so far."""
        found = []
        with open(self._log, encoding="utf-8") as log:
            for line in log:
                if line.endswith("\n") and f'"event":"{event}"' in line:
                    found.append(json.loads(line))
        return found

    def end(self):
        """Drains it. Its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(60)
        if self.process.poll() is None:
            self.process.kill()
        return self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
        self._directory.cleanup()
