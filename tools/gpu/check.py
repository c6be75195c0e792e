"""gpu_check: everything that needs a GPU, checked by one command on a host that has one.

The host needs a driver; the CUDA 13 toolkit, PyTorch and transformers for the sections that use them;
neither Bazel nor gRPC nor a network: what Ebb needs lies in a pack that tools/gpu_pack made."""
import argparse
import json
import os
import pathlib
import sys
import tempfile
import time

import runner
import sections
import table

HERE = pathlib.Path(__file__).resolve().parent
DEFAULT_MINUTES = 10


def parse(arguments):
    parser = argparse.ArgumentParser(prog="gpu_check", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=pathlib.Path, default=default_pack(),
                        help="what tools/gpu_pack made (%(default)s)")
    parser.add_argument("--only", default="", metavar="SECTION,...",
                        help="only these of: " + ", ".join(sections.SECTIONS))
    parser.add_argument("--minutes", type=float, default=DEFAULT_MINUTES,
                        help="time for all sections (%(default)s); each has its share, and what one "
                             "leaves goes to those after it")
    parser.add_argument("--output", type=pathlib.Path,
                        help="a directory for the full logs (default: a new one under /tmp)")
    parser.add_argument("--library", type=pathlib.Path,
                        help="the CUDA library (default: the pack's); the fake one runs what it can")
    options = parser.parse_args(arguments)
    options.sections = [name for name in options.only.split(",") if name] or list(sections.SECTIONS)
    for name in options.sections:
        if name not in sections.SECTIONS:
            parser.error(f"--only {name}: no such section; there are {', '.join(sections.SECTIONS)}")
    if not options.minutes > 0:
        parser.error("--minutes: more than 0")
    if not (options.pack / "manifest.json").exists():
        parser.error(f"--pack: no manifest.json in {options.pack}; make a pack with tools/gpu_pack")
    options.pack = options.pack.resolve()
    options.library = (options.library or options.pack / "lib" / "libebb_cuda.so").resolve()
    if not options.library.exists():
        parser.error(f"no library at {options.library}")
    options.output = (options.output or pathlib.Path(tempfile.mkdtemp(prefix="gpu_check."))).resolve()
    options.output.mkdir(parents=True, exist_ok=True)
    return options


def default_pack():
    """The pack that this file lies in, else the one that tools/gpu_pack makes in the checkout."""
    inside = HERE.parent
    return inside if (inside / "manifest.json").exists() else HERE.parent.parent / "gpu_pack"


def run_all(context, names, minutes):
    """{section: Outcome}. Each section has its share of the time, grown by what others left."""
    end = time.monotonic() + 60 * minutes
    weight_left = sum(sections.SECTIONS[name][1] for name in names)
    outcomes = {}
    for name in names:
        function, weight = sections.SECTIONS[name]
        begin = time.monotonic()
        share = max(0.0, end - begin) * weight / weight_left
        weight_left -= weight
        print(f"{name} (at most {share:.0f} s) ...", flush=True)
        try:
            if "find" in outcomes and outcomes["find"].failed:
                outcome = table.Outcome()
                outcome.skip("there is no device to check it on")
            else:
                outcome = function(context, runner.Budget(share))
        except Exception as error:  # A mistake of one section's own must not hide the others.
            outcome = table.Outcome()
            outcome.fail(f"the check itself failed: {type(error).__name__}: {error}")
        outcome.seconds = time.monotonic() - begin
        outcomes[name] = outcome
        table.write(context.output / "summary.json", outcomes)
    return outcomes


def make_executable(pack):
    """A pack may have travelled by a way that drops the files' modes."""
    for path in [pack / "run", *(pack / "bin").iterdir()]:
        if path.exists() and not os.access(path, os.X_OK):
            path.chmod(0o755)


def is_fake(library):
    """The fake is told by its file, before anything of it is loaded."""
    return "fake" in library.name


def main(arguments=None):
    options = parse(arguments)
    context = runner.Context(options.pack, options.library, options.output, is_fake(options.library))
    manifest = json.loads((options.pack / "manifest.json").read_text(encoding="utf-8"))
    print(f"pack of {manifest['revision']}; library {options.library}; logs in {options.output}",
          flush=True)
    make_executable(options.pack)
    outcomes = run_all(context, options.sections, options.minutes)
    print(table.render(outcomes))
    return table.status(outcomes)


if __name__ == "__main__":
    sys.exit(main())
