#!/usr/bin/env python3
"""Triton's own Python client against a real server: tritonclient_infer.py's checks."""

import ebb_server
import tritonclient_infer


def main():
    options = ebb_server.arguments(__doc__)
    with ebb_server.Server(options) as server:
        tritonclient_infer.run(server.grpc)


if __name__ == "__main__":
    main()
