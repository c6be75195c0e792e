"""E1: how much memory is held for what is needed, time by time?

    python3 bench/memory/held_needed.py [--loads NAME,...] [--requests N] [--config FILE]...

Sends each load to a server with default settings, to one for each --config, and to a static pool
(memory.keep_bytes = the limit) of the same binary, one after the other: the traces of bench/data at
70 % of the capacity that the static pool shows with the same requests all at once, and two square
waves. Every 50 ms `ebb bench` asks for the memory held (KV pages and workspaces) and needed (tokens
of running requests times bytes per token), from the first request to the last answer.

Goal, for each load: (integral of held - two pages) / integral of needed at most 1.25.
"""

import serving

GOAL = 1.25
PAGES = 2
TRACES = ["azure_conv", "azure_code", "mooncake_conversation", "servegen_deepseek_r1"]
SQUARES = {
    # Half of each period without any request; then about as many as two cores can answer.
    "square": ["--square", "0:5:10", "--duration-seconds", 30, "--prompt-tokens", "100:800",
               "--output-tokens", "32:160"],
    # Long answers: what is needed grows while they run.
    "square_long": ["--square", "0:2:16", "--duration-seconds", 32, "--prompt-tokens", "16:64",
                    "--output-tokens", "200:600"],
}


def ratio(figures, page):
    """(held - two pages) / needed, integrated; and both means in MiB."""
    samples = figures["memory"]["samples"]
    held = sum(sample["held_bytes"] for sample in samples) / len(samples)
    needed = sum(sample["needed_bytes"] for sample in samples) / len(samples)
    return (held - PAGES * page) / needed, held / serving.MIB, needed / serving.MIB


def main():
    parser = serving.parser(__doc__)
    parser.add_argument("--loads", default=",".join([*TRACES, *SQUARES]))
    parser.add_argument("--requests", type=int, default=60, help="of each trace; default 60")
    args = parser.parse_args()
    servers = serving.start_all(args)
    ratios = {name: {} for name in servers}
    try:
        page = servers["static"].memory()["page_bytes"]
        print(f"{'load':22} {'settings':12} {'held MiB':>9} {'needed':>9} {'less 2 pages':>13} "
              f"{'gap p50 ms':>11} {'p99':>8}")
        for load in args.loads.split(","):
            if load in SQUARES:
                arguments = SQUARES[load]
            else:
                arguments = serving.TraceLoad(load, args.requests).fit(servers["static"])
            for name, server in servers.items():
                serving.say(f"  {load}, {name} ...")
                figures = server.bench(*arguments, "--memory-interval-ms", 50)
                ratios[name][load], held, needed = ratio(figures, page)
                gap = figures["token_gap_seconds"]
                print(f"{load:22} {name:12} {held:9.1f} {needed:9.1f} {ratios[name][load]:13.2f} "
                      f"{gap['p50'] * 1000:11.1f} {gap['p99'] * 1000:8.1f}", flush=True)
    finally:
        serving.stop_all(servers)
    for name, by_load in ratios.items():
        worst = max(by_load, key=by_load.get)
        met = sum(value <= GOAL for value in by_load.values())
        print(f"E1 {name}: held, less two pages, over needed: {min(by_load.values()):.2f} to "
              f"{by_load[worst]:.2f} ({worst}); goal {GOAL}, kept in {met} of {len(by_load)} loads")


if __name__ == "__main__":
    main()
