"""Runs the programs of a section, each in a process of its own with a time limit, and counts what
they say. A crash, a lost device or a hang of one ends no other."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

from table import Outcome

SECONDS_MIN = 3  # With less left, nothing is started.
# compute-sanitizer on a device or in a virtual machine that it cannot use.
SANITIZER_REFUSED = ("Device not supported", "unsupported on this device", "not supported on this")
FINDING = "^={9} (Invalid|Error|Uninitialized|Warning: Race|Race)"


class Context:
    """What every section is given."""

    def __init__(self, pack, library, output, fake):
        self.pack = pack
        self.library = library
        self.output = output
        self.fake = fake
        self.python = pathlib.Path(__file__).resolve().parent
        self.variables = {}  # Further ones of the environment.

    def with_hopper(self):
        """The same, but that tests use what compute capability 9.0 alone has."""
        other = Context(self.pack, self.library, self.output, self.fake)
        other.variables = {"EBB_CUDA_HOPPER": "1"}
        return other

    def binary(self, name):
        """The packed program's path, or None where the pack has none."""
        path = self.pack / "bin" / name
        return path if path.exists() else None

    def environment(self):
        """Of packed programs: they find the pack's libraries, and the host's cuBLASLt."""
        environment = dict(os.environ)
        paths = [str(self.pack / "lib"), *cublas_directories()]
        if environment.get("LD_LIBRARY_PATH"):
            paths.append(environment["LD_LIBRARY_PATH"])
        environment["LD_LIBRARY_PATH"] = ":".join(paths)
        environment["EBB_CUDA_LIBRARY"] = str(self.library)
        return environment | self.variables

    def python_environment(self):
        """Of Python with PyTorch, which has libraries of its own: the pack's would get in their way.
        Packed programs that it starts go through the pack's `run`. The fake needs the pack's."""
        if self.fake:
            return self.environment()
        environment = dict(os.environ)
        environment["EBB_LIBRARY_PATH"] = ":".join(cublas_directories())
        return environment | self.variables


def tool(name):
    """The path of one of the toolkit's or the driver's programs, or None."""
    return shutil.which(name) or shutil.which(name, path="/usr/local/cuda/bin")


def cublas_directories():
    """Where cuBLASLt may lie: the toolkit's directory, and the one beside PyTorch."""
    homes = [os.environ.get("CUDA_HOME"), "/usr/local/cuda"]
    places = [pathlib.Path(home) / "lib64" for home in homes if home]
    for site in sys.path:
        places += [pathlib.Path(site) / "nvidia" / name / "lib" for name in ("cu13", "cublas")]
    return [str(place) for place in places if list(place.glob("libcublasLt.so*"))]


class Budget:
    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    def left(self):
        return self.end - time.monotonic()


def run(context, log_name, command, seconds, environment=None):
    """Runs one program, its output in LOG_NAME.log under the output directory. Gives its exit status,
    None when it ran past its time, and the log's text."""
    log_path = context.output / f"{log_name}.log"
    with open(log_path, "wb") as log:
        log.write(("$ " + " ".join(str(part) for part in command) + "\n").encode())
        log.flush()
        # A session of its own, so that what the program started is ended with it.
        process = subprocess.Popen([str(part) for part in command], stdout=log, cwd=context.output,
                                   stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                   env=environment or context.environment(), start_new_session=True)
        try:
            status = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            _end_group(process)
    return status, log_path.read_text(encoding="utf-8", errors="replace")


def _end_group(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def _last_line(text):
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("$ ")]
    return lines[-1][:200] if lines else "it said nothing"


def whole(context, name, command, budget, environment=None):
    """One program that is one case: exit status 0 is a pass."""
    outcome = Outcome()
    if budget.left() < SECONDS_MIN:
        outcome.skip(f"{name}: no time left")
        return outcome
    seconds = budget.left()
    status, text = run(context, name, command, seconds, environment)
    if status == 0:
        outcome.passed += 1
    elif status is None:
        outcome.fail(f"{name} ran past its {seconds:.0f} s")
    else:
        outcome.fail(f"{name} ended with status {status}: {_last_line(text)}")
    return outcome


def gtest(context, name, binary, budget, arguments=()):
    """A GoogleTest program; each of its tests is a case."""
    outcome = Outcome()
    if budget.left() < SECONDS_MIN:
        outcome.skip(f"{name}: no time left")
        return outcome
    report = context.output / f"{name}.json"
    report.unlink(missing_ok=True)
    command = [binary, f"--gtest_output=json:{report}", "--gtest_color=no", *arguments]
    status, text = run(context, name, command, budget.left())
    if report.exists():
        for suite in json.loads(report.read_text(encoding="utf-8")).get("testsuites", []):
            for case in suite["testsuite"]:
                full = f"{suite['name']}.{case['name']}"
                if case.get("failures"):
                    outcome.fail(f"{full}: {' '.join(case['failures'][0]['failure'].split())[:200]}")
                elif case.get("result") == "SKIPPED":
                    outcome.skip(f"{full}: {_skip_reason(text, full)}")
                elif case.get("status") == "RUN":
                    outcome.passed += 1
    if status is None:
        outcome.fail(f"{name} ran past its time in {_running(text)}")
    elif status != 0 and not outcome.failed:
        outcome.fail(f"{name} ended with status {status} in {_running(text)}: {_last_line(text)}")
    elif status == 0 and not outcome.passed + outcome.skipped:
        outcome.fail(f"{name} ran no test")
    return outcome


def _running(text):
    begun = re.findall(r"\[ RUN +\] (\S+)", text)
    return begun[-1] if begun else "no test"


def _skip_reason(text, full):
    after = text.partition(f"[ RUN      ] {full}\n")[2].partition("[  SKIPPED ]")[0]
    return " ".join(line for line in after.splitlines() if "Skipped" not in line).strip()[:160]


def lines(context, name, command, budget):
    """A Python program that says "ok NAME", "FAIL NAME: why" or "skip NAME: why" (cases.py)."""
    outcome = Outcome()
    if budget.left() < SECONDS_MIN:
        outcome.skip(f"{name}: no time left")
        return outcome
    seconds = budget.left()
    # It stops by itself first, so that what was found is told.
    command = [*command, "--seconds", f"{max(1.0, seconds * 0.9 - 5):.0f}"]
    status, text = run(context, name, command, seconds, context.python_environment())
    for line in text.splitlines():
        if line.startswith("ok "):
            outcome.passed += 1
        elif line.startswith("FAIL "):
            outcome.fail(line.removeprefix("FAIL ")[:240])
        elif line.startswith("skip "):
            outcome.skip(line.removeprefix("skip ")[:240])
    if status is None:
        outcome.fail(f"{name} ran past its {seconds:.0f} s")
    elif status != 0 and not outcome.failed:
        outcome.fail(f"{name} ended with status {status}: {_last_line(text)}")
    elif not outcome.passed + outcome.skipped + outcome.failed:
        outcome.fail(f"{name} ran no case")
    return outcome


def sanitizer(context, program, tool_name, name, command, budget):
    """One program under one tool of compute-sanitizer; a finding is a failure."""
    outcome = Outcome()
    label = f"{tool_name}_{name}"
    if budget.left() < SECONDS_MIN:
        outcome.skip(f"{label}: no time left")
        return outcome
    full = [program, "--tool", tool_name, "--error-exitcode", "86", "--print-limit", "20", *command]
    status, text = run(context, label, full, budget.left())
    if any(refused in text for refused in SANITIZER_REFUSED):
        outcome.skip(f"{label}: compute-sanitizer cannot use this device")
    elif status is None and not re.search(FINDING, text, flags=re.MULTILINE):
        outcome.skip(f"{label}: ran past its time, and had found nothing")
    elif status is None:
        outcome.fail(f"{label} ran past its time, with findings in its log")
    elif status == 86:
        outcome.fail(f"{label}: {_last_line(text)}")
    elif status != 0:
        outcome.fail(f"{label} ended with status {status}: {_last_line(text)}")
    else:
        outcome.passed += 1
    return outcome
