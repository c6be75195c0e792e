#!/usr/bin/env python3
"""The smg gateway in front of real servers: smg_gateway.py's checks, and a server that is killed."""

import ebb_server
import smg_gateway


def requests_go_on_when_one_is_killed(first, second):
    with smg_gateway.gateway([first.grpc, second.grpc], "--policy", "round_robin") as client:
        model = client.models.list().data[0].id
        ask = dict(model=model, prompt=smg_gateway.PROMPT, max_tokens=2)
        for i in range(12):
            if i == 4:
                second.process.kill()
                second.process.wait()
            assert client.completions.create(**ask).usage.completion_tokens > 0


def main():
    options = ebb_server.arguments(__doc__)
    # A queue that is soon full.
    settings = ["scheduler.queue_requests_max=8", "scheduler.running_sequences_max=4"]
    with ebb_server.Server(options, *settings) as first:
        with ebb_server.Server(options) as second:
            smg_gateway.run([first.grpc, second.grpc])
        with ebb_server.Server(options) as third:
            requests_go_on_when_one_is_killed(first, third)
            print("ok", requests_go_on_when_one_is_killed.__name__)


if __name__ == "__main__":
    main()
