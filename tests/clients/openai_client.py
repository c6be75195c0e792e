#!/usr/bin/env python3
"""OpenAI's own Python SDK against a real server: openai_sdk.py's checks."""

import ebb_server
import openai_sdk


def main():
    options = ebb_server.arguments(__doc__)
    with ebb_server.Server(options) as server:
        openai_sdk.run("http://" + server.http)


if __name__ == "__main__":
    main()
