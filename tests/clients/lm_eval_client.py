#!/usr/bin/env python3
"""lm-eval over /v1/completions: its scores against those that it has with transformers.

The tasks are in lm_eval/, and so is what transformers gave: make_expected.py wrote it. Tokens come
from the server, as lm-eval's remote tokenizer asks for them.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import ebb_server

TASKS = pathlib.Path(__file__).resolve().parent / "lm_eval"
# Of the log-probability of one end, and of a text of about fifty tokens. Other kernels, and keys and
# values of 16 bits, were seen to change them by 0.01 and 0.02.
CHOICE_TOLERANCE = 0.05
TEXT_TOLERANCE = 0.1


def evaluate(server, model, folder):
    arguments = ",".join([
        f"model={model}", f"base_url=http://{server.http}/v1/completions",
        "tokenizer_backend=remote", "num_concurrent=2", "max_length=2048"])
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": folder, "TQDM_DISABLE": "1"}
    subprocess.run(
        [sys.executable, "-m", "lm_eval", "run", "--model", "local-completions",
         "--model_args", arguments, "--tasks", "ebb_choices,ebb_texts", "--include_path", str(TASKS),
         "--batch_size", "4", "--output_path", folder, "--log_samples"],
        cwd=ebb_server.ROOT, env=environment, check=True, timeout=600)


def samples_of(folder, task):
    (path,) = pathlib.Path(folder).glob(f"**/samples_{task}_*.jsonl")
    samples = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return sorted(samples, key=lambda sample: sample["doc_id"])


def compare(folder):
    expected = json.loads((TASKS / "expected.json").read_text(encoding="utf-8"))
    (path,) = pathlib.Path(folder).glob("**/results_*.json")
    results = json.loads(path.read_text(encoding="utf-8"))["results"]
    ends = [[float(end[0]) for end in sample["filtered_resps"]]
            for sample in samples_of(folder, "ebb_choices")]
    texts = [float(sample["filtered_resps"][0]) for sample in samples_of(folder, "ebb_texts")]
    far = max(abs(a - b) for got, want in zip(ends, expected["choices"], strict=True)
              for a, b in zip(got, want, strict=True))
    text_far = max(abs(a - b) for a, b in zip(texts, expected["texts"], strict=True))
    found = {"acc": results["ebb_choices"]["acc,none"],
             "acc_norm": results["ebb_choices"]["acc_norm,none"],
             "bits_per_byte": results["ebb_texts"]["bits_per_byte,none"]}
    print("found", found, "farthest end", round(far, 4), "farthest text", round(text_far, 4))
    print("transformers", {name: expected[name] for name in found})
    assert far < CHOICE_TOLERANCE and text_far < TEXT_TOLERANCE
    # A question whose best two ends are nearer to each other than that may turn.
    close = sum(best - second < 2 * CHOICE_TOLERANCE for best, second, *_ in
                (sorted(ends, reverse=True) for ends in expected["choices"]))
    for name in ["acc", "acc_norm"]:
        assert abs(found[name] - expected[name]) * len(ends) <= close + 0.01, (name, close)
    assert abs(found["bits_per_byte"] / expected["bits_per_byte"] - 1) < 0.001


def main():
    options = ebb_server.arguments(__doc__)
    with ebb_server.Server(options) as server, tempfile.TemporaryDirectory() as folder:
        model = server.lines("ready")[0]["model"]
        evaluate(server, model, folder)
        compare(folder)


if __name__ == "__main__":
    main()
