"""The sections of gpu_check, each a function of the context and its time budget. What cannot run
here is skipped with its reason, never silently."""
import ctypes
import importlib.util
import json
import sys

import ebb_cuda
import runner
from table import Outcome


def programs(context, section):
    """Names of the packed programs that the manifest gives to this section."""
    manifest = json.loads((context.pack / "manifest.json").read_text(encoding="utf-8"))
    return [name for name, role in manifest["programs"].items() if role == section]


def find(context, budget):
    """The library, the driver, the device and the tools: what the other sections stand on."""
    outcome = Outcome()
    status, text = runner.run(context, "find", [sys.executable, __file__, context.library],
                              budget.left())
    if status == 0:
        outcome.passed += 1
        outcome.notes += [line.removeprefix("note ") for line in text.splitlines()
                          if line.startswith("note ")]
    else:
        outcome.fail(f"no device: {runner._last_line(text)}")
    for name, what in (("nvidia-smi", "-L"), ("nvcc", "--version"),
                       ("compute-sanitizer", "--version")):
        program = runner.tool(name)
        if not program:
            outcome.skip(f"{name} is neither on the PATH nor in /usr/local/cuda/bin")
        elif runner.run(context, f"find_{name}", [program, what], min(20, budget.left()))[0] == 0:
            outcome.passed += 1
        else:
            outcome.skip(f"{name} {what} fails, see its log")
    for module in ("torch", "transformers"):
        if importlib.util.find_spec(module):
            outcome.passed += 1
        else:
            outcome.skip(f"Python has no {module}")
    return outcome


def describe_device(library):
    """Prints what the library finds. Run in a process of its own."""
    api = ebb_cuda.load(library)
    driver = api.EbbCudaDriverInfo()
    api.check(api.find(ctypes.byref(driver)))
    print(f"note library {api.name}, toolkit {driver.toolkit_version}, "
          f"driver {driver.driver_version}, {driver.device_count} devices")
    for index in range(driver.device_count):
        device = api.EbbCudaDeviceInfo()
        api.check(api.device_info(index, ctypes.byref(device)))
        print(f"note device {index}: {device.name.decode()}, sm_{device.compute_major}"
              f"{device.compute_minor}, {device.sm_count} SMs, L2 {device.l2_bytes >> 20} MiB, "
              f"memory {device.memory_bytes >> 20} MiB")


def _gtests(context, section, budget, suffix=""):
    outcome = Outcome()
    for name in programs(context, section):
        outcome.add(runner.gtest(context, name + suffix, context.binary(name), budget))
    if not outcome.passed + outcome.failed + outcome.skipped:
        outcome.skip("the pack holds no program of this section")
    return outcome


def _python(context, script, budget, *arguments, suffix=""):
    outcome = Outcome()
    if not importlib.util.find_spec("torch"):
        outcome.skip(f"{script}: Python has no torch")
        return outcome
    command = [sys.executable, context.python / f"{script}.py", "--library", context.library]
    return runner.lines(context, script + suffix, [*command, *arguments], budget)


def probe(context, budget):
    """What the driver's calls cost, and whether editing beside work is safe."""
    outcome = Outcome()
    binary = context.binary("driver_probe")
    if not binary:
        outcome.skip("the pack holds no driver_probe")
        return outcome
    for part in ("costs", "soak"):
        name = f"driver_probe_{part}"
        command = [binary, "--library", context.library, "--only", part,
                   "--json", context.output / f"{name}.jsonl"]
        if context.fake:
            command.append("--smoke")
        outcome.add(runner.whole(context, name, command, budget))
    return outcome


def kernels(context, budget):
    return _gtests(context, "kernels", budget)


def torch(context, budget):
    return _python(context, "check_ops", budget, *(["--small"] if context.fake else []))


def models(context, budget):
    outcome = Outcome()
    if not context.binary("model_logits"):
        outcome.skip("the pack holds no model_logits")
        return outcome
    if not importlib.util.find_spec("transformers"):
        outcome.skip("Python has no transformers")
        return outcome
    small = ["--small"] if context.fake else []
    return _python(context, "check_models", budget, "--pack", context.pack, *small)


def pool(context, budget):
    return _gtests(context, "pool", budget)


def graphs(context, budget):
    return _python(context, "check_graphs", budget)


def server(context, budget):
    """The real server with a random model, `ebb bench` and other commands of the client over gRPC."""
    if not context.binary("ebb_server") or not context.binary("ebb"):
        outcome = Outcome()
        outcome.skip("the pack holds no ebb_server and ebb")
        return outcome
    command = [sys.executable, context.python / "check_server.py", "--library", context.library,
               "--pack", context.pack, "--output", context.output,
               *(["--small"] if context.fake else [])]
    return runner.lines(context, "check_server", command, budget)


def sanitizer(context, budget):
    """memcheck, racecheck and initcheck of compute-sanitizer over the kernel tests."""
    outcome = Outcome()
    names = programs(context, "kernels")
    program = runner.tool("compute-sanitizer")
    if context.fake:
        outcome.skip("the fake library has no device code")
    elif not program:
        outcome.skip("compute-sanitizer is not here")
    elif not names:
        outcome.skip("the pack holds no kernel tests")
    else:
        runs = [(tool, name) for tool in ("memcheck", "racecheck", "initcheck") for name in names]
        for done, (tool, name) in enumerate(runs):
            # A slow one may take twice its part of what is left.
            part = runner.Budget(min(1.0, 2 / (len(runs) - done)) * budget.left())
            command = [context.binary(name), "--gtest_color=no"]
            outcome.add(runner.sanitizer(context, program, tool, name, command, part))
    return outcome


def hopper(context, budget):
    """The kernels again, with what compute capability 9.0 alone has (cuda.hopper)."""
    context = context.with_hopper()
    outcome = _gtests(context, "kernels", budget, "_hopper")
    outcome.add(_python(context, "check_graphs", runner.Budget(budget.left() / 2),
                        suffix="_hopper"))
    outcome.add(_python(context, "check_ops", budget, *(["--small"] if context.fake else []),
                        suffix="_hopper"))
    return outcome


def _benches(context, budget, suffix, *flags):
    outcome = Outcome()
    for name in programs(context, "bench"):
        command = [context.binary(name), "--library", context.library,
                   "--json", context.output / f"{name}{suffix}.jsonl", *flags]
        if context.fake:
            command.append("--smoke")
        outcome.add(runner.whole(context, name + suffix, command, budget))
    return outcome


def bench(context, budget):
    outcome = _benches(context, budget, "")
    outcome.add(_benches(context, budget, "_hopper", "--hopper"))
    if not outcome.passed + outcome.failed + outcome.skipped:
        outcome.skip("the pack holds no bench")
    outcome.add(_torch_bench(context, budget))
    return outcome


def _torch_bench(context, budget):
    """What PyTorch makes of the same operations."""
    outcome = Outcome()
    if context.fake:
        outcome.skip("bench_torch: the fake library is no device of PyTorch's")
    elif not importlib.util.find_spec("torch"):
        outcome.skip("bench_torch: Python has no torch")
    else:
        command = [sys.executable, context.python / "bench_torch.py",
                   "--json", context.output / "bench_torch.jsonl"]
        outcome.add(runner.whole(context, "bench_torch", command, budget,
                                 environment=context.python_environment()))
    return outcome


# In the order in which they run; seconds of the default ten minutes.
SECTIONS = {
    "find": (find, 15),
    "probe": (probe, 50),
    "kernels": (kernels, 90),
    "torch": (torch, 90),
    "models": (models, 90),
    "pool": (pool, 30),
    "graphs": (graphs, 30),
    "hopper": (hopper, 60),
    "server": (server, 80),
    "sanitizer": (sanitizer, 80),
    "bench": (bench, 75),
}


if __name__ == "__main__":
    describe_device(sys.argv[1])
