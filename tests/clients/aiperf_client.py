#!/usr/bin/env python3
"""aiperf, a load generator, over chats and completions: every request ends well and is counted.

Its tokenizer is the one that the server gives to gateways.
"""

import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

import grpc

import ebb_server

REQUESTS = 12
TOKENS = 8


def fetch_tokenizer(server, folder):
    messages, services = ebb_server.stubs("vllm_engine", folder)
    with grpc.insecure_channel(server.grpc) as channel:
        chunks = services.VllmEngineStub(channel).GetTokenizer(messages.GetTokenizerRequest())
        archive = b"".join(chunk.data for chunk in chunks)
    zipfile.ZipFile(io.BytesIO(archive)).extractall(folder)


def profile(server, kind, tokenizer, folder):
    """What aiperf wrote about one run."""
    model = server.lines("ready")[0]["model"]
    aiperf = pathlib.Path(sys.executable).parent / "aiperf"
    subprocess.run(
        [aiperf, "profile", "--model", model, "--url", f"http://{server.http}",
         "--endpoint-type", kind, "--streaming", "--tokenizer", tokenizer, "--concurrency", "3",
         "--request-count", str(REQUESTS), "--synthetic-input-tokens-mean", "40",
         "--output-tokens-mean", str(TOKENS), "--output-tokens-stddev", "0",
         "--extra-inputs", "ignore_eos:true", "--use-server-token-count", "--ui", "none",
         "--random-seed", "7", "--artifact-dir", folder],
        env=os.environ | {"HOME": folder}, check=True, timeout=300)
    (path,) = pathlib.Path(folder).glob("**/profile_export_aiperf.json")
    return json.loads(path.read_text(encoding="utf-8"))


def check(report):
    assert report["request_count"]["avg"] == REQUESTS, report
    assert not report.get("error_request_count"), report
    assert report["output_sequence_length"]["avg"] == TOKENS, report["output_sequence_length"]
    assert 0 < report["time_to_first_token"]["avg"] < report["request_latency"]["avg"], report


def main():
    options = ebb_server.arguments(__doc__)
    with ebb_server.Server(options) as server, tempfile.TemporaryDirectory() as tokenizer:
        fetch_tokenizer(server, tokenizer)
        for kind in ["chat", "completions"]:
            with tempfile.TemporaryDirectory() as folder:
                check(profile(server, kind, tokenizer, folder))
            print("ok", kind)


if __name__ == "__main__":
    main()
