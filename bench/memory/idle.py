"""E8: what does a server hold when nothing runs, and how long until it is ready?

    python3 bench/memory/idle.py [--config FILE]...

Starts each server (default settings, each --config, the static pool of the same binary), takes the time
from its start to its ready line, and its resident set before the first request; sends 32 requests,
waits until the memory held stands still, and takes the resident set again.

Goal: weights plus at most 48 MiB, and no KV page mapped.
"""

import pathlib

import serving

GOAL_MIB = 48
LOAD = ["--rate", 1000, "--requests-max", 32, "--prompt-tokens", "64:256",
        "--output-tokens", "32:64", "--memory-interval-ms", 0]


def main():
    args = serving.parser(__doc__).parse_args()
    plans = [("default", None, []),
             *((pathlib.Path(config).stem, str(pathlib.Path(config).resolve()), [])
               for config in args.config),
             ("static", None, serving.STATIC)]
    for name, config, settings in plans:
        with serving.Server(name, args.model, config, settings) as server:
            server.wait_idle()
            weights = server.ready["weights_bytes"]
            before = (server.resident_bytes() - weights) / serving.MIB
            serving.say(f"  {name}: a load ...")
            server.bench(*LOAD)
            server.wait_idle()
            after = (server.resident_bytes() - weights) / serving.MIB
            memory = server.memory()
            good = max(before, after) <= GOAL_MIB and memory["pages_mapped"] == 0
            verdict = "a pool that stays" if name == "static" else "met" if good else "missed"
            print(f"E8 {name}: ready after {server.ready_seconds:.2f} s; resident, beyond weights of "
                  f"{weights / serving.MIB:.1f} MiB: {before:.1f} MiB before the first request, "
                  f"{after:.1f} MiB after a load; {memory['pages_mapped']} KV pages mapped; goal "
                  f"{GOAL_MIB} MiB and none: {verdict}", flush=True)


if __name__ == "__main__":
    main()
