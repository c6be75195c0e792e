#!/usr/bin/env python3
"""What lm-eval finds on its own, with transformers in float32 on the dequantised weights.

    python3 tests/clients/lm_eval/make_expected.py MODEL.gguf

from the repository's root; writes expected.json beside this file. Needs lm_eval, torch, transformers,
accelerate and gguf, which ./test --clients does not.
"""

import json
import pathlib
import sys

import lm_eval
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import AutoTokenizer

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "tools/golden"))
import common  # pylint: disable=wrong-import-position,import-error

TASKS = ["ebb_choices", "ebb_texts"]


def main():
    path = pathlib.Path(sys.argv[1]).resolve()
    tokenizer = AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name)
    model = HFLM(pretrained=common.load_reference(path), tokenizer=tokenizer, batch_size=1)
    found = lm_eval.simple_evaluate(model=model, tasks=TASKS, bootstrap_iters=0,
                                    task_manager=TaskManager(include_path=str(HERE)))
    choices, texts = (found["samples"][task] for task in TASKS)
    expected = {
        "lm_eval": lm_eval.__version__,
        "acc": found["results"]["ebb_choices"]["acc,none"],
        "acc_norm": found["results"]["ebb_choices"]["acc_norm,none"],
        "bits_per_byte": found["results"]["ebb_texts"]["bits_per_byte,none"],
        # Of each end of each question, and of each text.
        "choices": [[round(float(end[0]), 4) for end in sample["filtered_resps"]]
                    for sample in sorted(choices, key=lambda sample: sample["doc_id"])],
        "texts": [round(float(sample["filtered_resps"][0]), 3)
                  for sample in sorted(texts, key=lambda sample: sample["doc_id"])],
    }
    (HERE / "expected.json").write_text(json.dumps(expected) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
