"""E4: what does it cost that memory follows the load, when lengths churn?

    python3 bench/memory/churn_cost.py [--pairs N] [--config FILE]...

One load (24 requests at once, 8 of them running, prompts of 16 to 192 and answers of 16 to 128
tokens, so that sequences start, grow and end all the time) goes in turns to a server with default
settings, to a static pool (memory.keep_bytes = the limit) of the same binary, and to a second static
pool. Between its turns the elastic server is idle and may give its memory back. Of each round two ratios
of tokens per second are taken: elastic to static, and static to static (A/A).

Goal: the mean cost is at most 1 % beyond the A/A spread, which is two standard errors of the mean A/A
ratio: what so many pairs of the same thing would show.
"""

import math
import statistics

import serving

GOAL_PERCENT = 1
LOAD = ["--rate", 1000, "--requests-max", 24, "--prompt-tokens", "16:192",
        "--output-tokens", "16:128", "--memory-interval-ms", 0]


def tokens_per_second(server, seed):
    throughput = server.bench(*LOAD, "--seed", seed)["throughput"]
    return throughput["prompt_tokens_per_second"] + throughput["output_tokens_per_second"]


def spread_percent(ratios):
    return 200 * statistics.stdev(ratios) / math.sqrt(len(ratios))


def main():
    parser = serving.parser(__doc__)
    parser.add_argument("--pairs", type=int, default=20, help="default 20")
    args = parser.parse_args()
    settings = ["scheduler.running_sequences_max=8"]
    servers = serving.start_all(args, settings)
    servers["static again"] = serving.Server("static again", args.model,
                                             settings=[*serving.STATIC, *settings])
    rates = {name: [] for name in servers}
    try:
        for server in servers.values():
            tokens_per_second(server, 0)  # The first steps of a process are slower.
        for pair in range(args.pairs):
            # Everyone is first, and second, equally often.
            order = list(servers)
            order = order[pair % len(order):] + order[:pair % len(order)]
            for name in order:
                rates[name].append(tokens_per_second(servers[name], pair + 1))
            serving.say(f"  pair {pair + 1}: "
                        + ", ".join(f"{name} {rates[name][-1]:.0f} tokens/s" for name in servers))
    finally:
        serving.stop_all(servers)

    def ratios(name):
        return [rate / static for rate, static in zip(rates[name], rates["static"])]

    same = ratios("static again")
    spread = spread_percent(same)
    print(f"A/A: static to static {100 * statistics.mean(same):.2f} %, one pair's standard deviation "
          f"{100 * statistics.stdev(same):.2f} %")
    for name in servers:
        if name.startswith("static"):
            continue
        cost = 100 - 100 * statistics.mean(ratios(name))
        print(f"E4 {name}: costs {cost:.2f} % (+- {spread_percent(ratios(name)):.2f}) of the static "
              f"pool's throughput over {args.pairs} pairs, A/A spread {spread:.2f} %; goal at most "
              f"{GOAL_PERCENT} % beyond it: {'met' if cost <= GOAL_PERCENT + spread else 'missed'}")


if __name__ == "__main__":
    main()
