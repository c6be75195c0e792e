"""Runs clients that others wrote against a real server: each script of tests/clients.

usage: client_tests.py PYTHON SERVER MODEL [NAME]...

PYTHON is the interpreter of an environment that holds tests/clients/requirements.txt. A script gets
--server, --model; it starts the servers that it needs itself, asserts, and ends with 0 when all went
well, with 77 when something that it needs is not there. The last line is
"N passed, N failed[, N skipped]".
"""
import pathlib
import subprocess
import sys
import time

CLIENTS = pathlib.Path(__file__).resolve().parent.parent / "tests/clients"
SKIPPED = 77
SECONDS_MAX = 900


def main():
    python, server, model, *names = sys.argv[1:]
    scripts = [path for path in sorted(CLIENTS.glob("*_client.py"))
               if not names or path.stem in names]
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for script in scripts:
        print(f"{script.stem} ...", file=sys.stderr, flush=True)
        begun = time.monotonic()
        try:
            code = subprocess.run([python, script, "--server", server, "--model", model],
                                  timeout=SECONDS_MAX, check=False).returncode
        except subprocess.TimeoutExpired:
            code = f"no end after {SECONDS_MAX} s"
        outcome = {0: "passed", SKIPPED: "skipped"}.get(code, "failed")
        counts[outcome] += 1
        print(f"{script.stem}: {outcome} in {time.monotonic() - begun:.0f} s"
              + (f" ({code})" if outcome == "failed" else ""), file=sys.stderr, flush=True)
    text = f"{counts['passed']} passed, {counts['failed']} failed"
    print(text + (f", {counts['skipped']} skipped" if counts["skipped"] else ""))
    return 1 if counts["failed"] or not counts["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
