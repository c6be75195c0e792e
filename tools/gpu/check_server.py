"""The real server on the device, spoken to over gRPC by the packed client: answers, churn, a limit
lowered under load, memory given back, a clean end; the same again with kernels that start early and
pages edited beside them; and with cuda.batch_invariant the same tokens in any company.

    python3 check_server.py --library libebb_cuda.so --pack gpu_pack --output DIR [--small]

The model is random, so its answers are noise; that they are all there, alike when they must be, and
that memory follows the load does not depend on it."""
import json
import pathlib
import signal
import subprocess
import sys
import time

import cases

START_SECONDS_MAX = 120
MIB = 1 << 20


class Server:
    def __init__(self, options, name, *settings):
        self.options = options
        self.name = name
        self.settings = settings
        self.log = options.output / f"{name.replace(' ', '_')}.log"
        self.process = None
        self.address = None

    def start(self):
        model = "random:tiny-llama" if self.options.small else "random:llama-3.2-1b"
        settings = ["device.kind=cuda", f"cuda.library={self.options.library}", "memory.idle_ms=500",
                    f"memory.limit_bytes={self.limit_bytes()}", f"memory.ceiling_bytes={1 << 34}",
                    *self.settings, *self.options.set]
        command = [self.options.pack / "run", "ebb_server", "--model", model,
                   "--listen", "127.0.0.1:0"]
        for setting in settings:
            command += ["--set", setting]
        with open(self.log, "wb") as log:
            # It dies with this process's session, which the check ends.
            self.process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)
        end = time.monotonic() + START_SECONDS_MAX
        while self.address is None:
            assert self.process.poll() is None, f"it ended at once: {self.last_words()}"
            assert time.monotonic() < end, f"not ready after {START_SECONDS_MAX} s"
            self.address = next((line["address"] for line in self.lines("ready")), None)
            time.sleep(0.05)

    def limit_bytes(self):
        return (512 if self.options.small else 4096) * MIB

    def lines(self, event):
        for text in self.log.read_text(encoding="utf-8", errors="replace").splitlines():
            if text.startswith("{") and text.endswith("}"):
                line = json.loads(text)
                if line.get("event") == event:
                    yield line

    def last_words(self):
        return (self.log.read_text(encoding="utf-8", errors="replace").splitlines() or [""])[-1][:300]

    def command(self, *arguments):
        return [str(part) for part in (
            self.options.pack / "run", "ebb", "--address", self.address, *arguments)]

    def ebb(self, *arguments, seconds=120):
        """What a command of the client prints with --json."""
        if self.address is None:
            raise cases.Skip("the server did not start")
        result = subprocess.run(self.command(*arguments, "--json"), capture_output=True, text=True,
                                timeout=seconds, check=False)
        said = result.stderr.strip()[-300:]
        assert result.returncode == 0, f"ebb {arguments[0]}: status {result.returncode}: {said}"
        return json.loads(result.stdout)

    def stop(self):
        if self.process is None:
            raise cases.Skip("the server did not start")
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=60)
        assert status == 0, f"status {status}: {self.last_words()}"


def starts(server):
    def check(_):
        server.start()
    return f"{server.name} starts on the device", check


def answers_alike(server):
    def check(_):
        for settings in (("--temperature", "0"), ("--temperature", "0.9", "--seed", "7")):
            arguments = ("generate", "--prompt", "Once upon a time", "--max-tokens", "24",
                         "--ignore-eos", *settings)
            first, second = server.ebb(*arguments), server.ebb(*arguments)
            assert len(first["token_ids"]) == 24, f"{len(first['token_ids'])} tokens, not 24"
            assert first["token_ids"] == second["token_ids"], f"{settings}: another answer"
    return f"{server.name} gives the same answer to the same request", check


def load_arguments(server, seconds):
    if server.options.small:
        return ("bench", "--square", "1:4:2", "--duration-seconds", str(seconds), "--prompt-tokens",
                "4:40", "--output-tokens", "2:12", "--temperature", "0.8")
    return ("bench", "--square", "2:30:4", "--duration-seconds", str(seconds), "--prompt-tokens",
            "16:1500", "--output-tokens", "8:200", "--temperature", "0.8")


def all_answered(report):
    requests = report["requests"]
    assert requests["scheduled"] > 0, "the load sent nothing"
    assert requests["ok"] == requests["scheduled"], f"{requests}, {report['errors']}"


def churn(server, seconds):
    def check(_):
        report = server.ebb(*load_arguments(server, seconds))
        name = f"{server.name.replace(' ', '_')}_churn.json"
        (server.options.output / name).write_text(json.dumps(report), encoding="utf-8")
        all_answered(report)
        held = report["memory"]["held_bytes"]
        assert 0 < held["max"] <= server.limit_bytes(), f"held {held}"
    return f"{server.name} answers everything under churn", check


def limit_under_load(server, seconds):
    def check(_):
        if server.address is None:
            raise cases.Skip("the server did not start")
        load = subprocess.Popen(server.command(*load_arguments(server, seconds), "--json"),
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        low = server.limit_bytes() // 4
        try:
            for limit in (low, server.limit_bytes(), low, server.limit_bytes()):
                time.sleep(seconds / 5)
                server.ebb("memory", "--set-limit", str(limit))
        finally:
            out, _ = load.communicate(timeout=120)
        all_answered(json.loads(out))
    return f"{server.name} answers everything while its limit moves", check


def idle(server):
    def check(_):
        end = time.monotonic() + 20
        while (memory := server.ebb("memory"))["pages_mapped"] != 0:
            assert time.monotonic() < end, f"20 s after the last request: {memory}"
            time.sleep(0.2)
    return f"{server.name} gives its memory back when idle", check


def stops(server):
    def check(_):
        server.stop()
    return f"{server.name} ends cleanly", check


def same_in_company(server, seconds):
    def check(_):
        prompts = ["Once upon a time", "The sea was", "A", "In the year of our Lord " * 9]
        tokens = "6" if server.options.small else "48"
        requests = [("generate", "--prompt", prompt, "--max-tokens", tokens, "--ignore-eos",
                     "--temperature", "0") for prompt in prompts]
        alone = [server.ebb(*request)["token_ids"] for request in requests]
        load = subprocess.Popen(server.command(*load_arguments(server, seconds), "--json"),
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            together = [subprocess.Popen(server.command(*request, "--json"), stdout=subprocess.PIPE,
                                         text=True) for request in requests]
            answers = [json.loads(process.communicate(timeout=120)[0]) for process in together]
        finally:
            out, _ = load.communicate(timeout=120)
        all_answered(json.loads(out))
        for prompt, first, answer in zip(prompts, alone, answers):
            got = answer["token_ids"]
            assert got == first, f"{prompt[:20]!r}: {got}, alone {first}"
    return f"{server.name} gives the same tokens in any company", check


def main():
    parser = cases.argument_parser(__doc__.splitlines()[0])
    parser.add_argument("--pack", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True, help="for the server's log")
    parser.add_argument("--set", action="append", default=[], help="a further setting of the server")
    parser.add_argument("--small", action="store_true", help="a tiny model and load, for the fake")
    options = parser.parse_args()
    server = Server(options, "server")
    invariant = Server(options, "invariant server", "cuda.batch_invariant=true")
    eager = Server(options, "eager server", "cuda.hopper=true", "cuda.page_edits=any_time")
    seconds = 4 if options.small else max(5, min(12, options.seconds / 7))
    try:
        return cases.run([
            starts(server), answers_alike(server), churn(server, seconds),
            limit_under_load(server, seconds), idle(server), stops(server),
            starts(invariant), same_in_company(invariant, seconds), stops(invariant),
            starts(eager), answers_alike(eager), churn(eager, seconds),
            limit_under_load(eager, seconds), idle(eager), stops(eager),
        ], options)
    finally:
        for started in (server, invariant, eager):
            if started.process is not None and started.process.poll() is None:
                started.process.kill()


if __name__ == "__main__":
    sys.exit(main())
