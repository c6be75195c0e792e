#!/usr/bin/env python3
"""Makes the golden data of penalties, biases and bad words with Hugging Face's `transformers`
(4.46 was used, with torch 1.13).

    python3 tests/golden/make_sampling_golden.py

needs the Python packages torch and transformers, and writes beside itself:

    logit_adjustments.jsonl   logits, a prompt, an answer, settings, and the logits after them

Biases are SequenceBiasLogitsProcessor's. The repetition penalty is RepetitionPenaltyLogitsProcessor's,
over prompt and answer. NoBadWordsLogitsProcessor sees the answer alone, as bad words do in vLLM.
transformers has no presence and frequency penalties: those are OpenAI's formula, in torch.
"""

import json
import math
import pathlib
import random

import torch
from transformers import (NoBadWordsLogitsProcessor, RepetitionPenaltyLogitsProcessor,
                          SequenceBiasLogitsProcessor)

HERE = pathlib.Path(__file__).resolve().parent
NO_TOKEN = 10**6  # For an end-of-sequence id that no word may be.


def bad_words(rng, answer, vocabulary):
    """Words of up to four tokens, most of them all but finished by the answer."""
    words = set()
    for _ in range(rng.choice([0, 2, 6])):
        begun = rng.randrange(4)
        prefix = answer[len(answer) - begun:]
        if rng.random() < 0.3:
            prefix = rng.sample(range(vocabulary), begun)
        words.add((*prefix, rng.randrange(vocabulary)))
    return sorted(words)


def one_case(rng, vocabulary):
    few = rng.choice([5, vocabulary])  # Many tokens come several times, or few.
    prompt = [rng.randrange(few) for _ in range(rng.choice([1, 3, 40]))]
    answer = [rng.randrange(few) for _ in range(rng.choice([0, 1, 5, 30]))]
    case = {
        "prompt": prompt,
        "answer": answer,
        "repetition_penalty": rng.choice([1.0, 1.0, 1.3, 0.7, 100.0, 0.01]),
        "presence_penalty": rng.choice([0.0, 0.0, 0.5, 2.0, -2.0]),
        "frequency_penalty": rng.choice([0.0, 0.0, 0.3, 2.0, -2.0]),
        "logit_bias": {str(i): rng.choice([-100.0, 100.0, 0.7, -1.3])
                       for i in rng.sample(range(vocabulary), rng.choice([0, 0, 1, 5]))},
        "bad_words": bad_words(rng, answer, vocabulary) if len(answer) >= 5 else [],
    }
    generator = torch.Generator().manual_seed(rng.getrandbits(40))
    logits = torch.randn(1, vocabulary, generator=generator) * 4
    logits[0, rng.randrange(vocabulary)] = 0.0
    logits[0, rng.randrange(vocabulary)] = -math.inf
    case["logits"] = logits[0].tolist()

    if case["logit_bias"]:
        bias = SequenceBiasLogitsProcessor({(int(i),): b for i, b in case["logit_bias"].items()})
        logits = bias(torch.tensor([[0]]), logits)
    logits = RepetitionPenaltyLogitsProcessor(case["repetition_penalty"])(
        torch.tensor([prompt + answer]), logits)
    counts = torch.bincount(torch.tensor(answer, dtype=torch.int64), minlength=vocabulary)[None]
    logits = logits - case["frequency_penalty"] * counts - case["presence_penalty"] * (counts > 0)
    if case["bad_words"]:
        ban = NoBadWordsLogitsProcessor([list(word) for word in case["bad_words"]], NO_TOKEN)
        logits = ban(torch.tensor([answer]), logits)
    case["adjusted"] = logits[0].tolist()
    return case


def text_of(case):
    # JSON has no infinity.
    finite = {name: [x if math.isfinite(x) else None for x in case[name]]
              for name in ("logits", "adjusted")}
    return json.dumps({**case, **finite}, separators=(",", ":"))


def main():
    rng = random.Random(20261128)
    lines = [text_of(one_case(rng, vocabulary)) for vocabulary in (7, 30) for _ in range(60)]
    (HERE / "logit_adjustments.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
