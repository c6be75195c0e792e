"""E5: do answers stall while memory grows?

    python3 bench/memory/growth_stall.py [--rounds N] [--config FILE]...

Two loads, in turns, to a server with default settings and to a static pool (memory.keep_bytes = the
limit) of the same binary:

  ramp    8 requests at once, prompts of 16 and answers of 400 tokens: memory grows by a page every
          half second from nothing, since the elastic server is idle before and has given all back
  square  a burst of prompts of 100 to 400 tokens every 3 s, so that growth meets running answers

The gap between two messages of one answer is taken over all answers of a run, its p99 over the runs
by the median. Goal: no more is added than one step, which is the static pool's median gap.
"""

import statistics

import serving

LOADS = {
    "ramp": ["--rate", 1000, "--requests-max", 8, "--prompt-tokens", "16",
             "--output-tokens", "400"],
    "square": ["--square", "0:4:3", "--duration-seconds", 6, "--prompt-tokens", "100:400",
               "--output-tokens", "32:96"],
}


def main():
    parser = serving.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=4, help="default 4")
    parser.add_argument("--loads", default=",".join(LOADS))
    args = parser.parse_args()
    servers = serving.start_all(args)
    lines = []
    try:
        for load in args.loads.split(","):
            gaps = {name: [] for name in servers}
            for round_index in range(args.rounds):
                for name, server in servers.items():
                    if load == "ramp" and name != "static":
                        server.wait_idle()
                    figures = server.bench(*LOADS[load], "--memory-interval-ms", 0,
                                           "--seed", round_index + 1)
                    gaps[name].append(figures["token_gap_seconds"])
                serving.say(f"  {load}, round {round_index + 1}: " + ", ".join(
                    f"{name} p99 {gaps[name][-1]['p99'] * 1000:.1f} ms" for name in servers))

            def of(name, key):
                return 1000 * statistics.median(gap[key] for gap in gaps[name])

            step = of("static", "p50")
            for name in servers:
                if name == "static":
                    continue
                added = of(name, "p99") - of("static", "p99")
                lines.append(
                    f"E5 {name}, {load}: p99 gap {of(name, 'p99'):.1f} ms, static "
                    f"{of('static', 'p99'):.1f} ms (max {of(name, 'max'):.0f} and "
                    f"{of('static', 'max'):.0f}): {added:+.1f} ms; goal at most one step, "
                    f"{step:.1f} ms: {'met' if added <= step else 'missed'}")
    finally:
        serving.stop_all(servers)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
