#!/usr/bin/env python3
"""Makes the tokenizers' golden data with Hugging Face's `tokenizers` (0.23 was used).

    python3 tests/golden/make_tokenizer_golden.py SmolLM2-135M-Instruct.Q4_1.gguf

needs the Python packages tokenizers and gguf, and writes beside itself:

    tokenizer_smollm.jsonl     texts and their ids under the model's own vocabulary
    detokenizer_smollm.jsonl   random ids and their text
    tokenizer_small.json       for each pre-tokenizer a vocabulary of a few hundred tokens, trained
                               on golden_text.py, with texts, ids and the pieces they were cut into

The model's tokenizer is built from the GGUF file's vocabulary and merges with the pipeline that its
authors publish in tokenizer.json: Digits(individual_digits=True), then ByteLevel with GPT-2's
pattern, no unknown token, no BOS. The other pipelines are those published for GPT-2, Llama 3 and
Qwen 2 (for Qwen 2 without its NFC normalizer, which GGUF files do not ask for).
"""

import json
import pathlib
import random
import sys

import gguf
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

import golden_text

HERE = pathlib.Path(__file__).resolve().parent
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
          r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
BYTE_LEVEL = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


def split_then_bytes(pattern):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])


PIPELINES = {
    "gpt2": BYTE_LEVEL,
    "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), BYTE_LEVEL]),
    "llama-bpe": split_then_bytes(LLAMA3),
    "qwen2": split_then_bytes(LLAMA3.replace("{1,3}", "")),
}


def smollm_tokenizer(path):
    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = PIPELINES["smollm"]
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False)
                                  for t, kind in zip(tokens, types) if kind == 3])
    return tokenizer


def line(**fields):
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")) + "\n"


def encode_both(tokenizer, text):
    """Ids with the control tokens parsed, and with their spelling as text."""
    tokenizer.encode_special_tokens = False
    special = tokenizer.encode(text, add_special_tokens=False).ids
    tokenizer.encode_special_tokens = True
    plain = tokenizer.encode(text, add_special_tokens=False).ids
    tokenizer.encode_special_tokens = False
    return special, plain


def write_smollm(tokenizer):
    with open(HERE / "tokenizer_smollm.jsonl", "w", encoding="utf-8") as out:
        for text in golden_text.strings(seed=1, count=2600):
            special, plain = encode_both(tokenizer, text)
            fields = {"text": text, "ids": plain}
            if special != plain:
                fields["special_ids"] = special
            out.write(line(**fields))
    rng = random.Random(2)
    with open(HERE / "detokenizer_smollm.jsonl", "w", encoding="utf-8") as out:
        # Ids below 500 are mostly single bytes: they make broken characters.
        for _ in range(400):
            top = rng.choice([300, 500, 49152])
            ids = [rng.randrange(top) for _ in range(rng.randint(1, 24))]
            out.write(line(ids=ids, text=tokenizer.decode(ids, skip_special_tokens=True),
                           with_control=tokenizer.decode(ids, skip_special_tokens=False)))


def small_tokenizer(name, corpus):
    """A vocabulary trained on `corpus`. For llama-bpe it also has whole words that no merges make,
    which ignore_merges finds all the same."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = PIPELINES[name]
    tokenizer.train_from_iterator(corpus, trainers.BpeTrainer(
        vocab_size=700, show_progress=False, special_tokens=["<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    trained = json.loads(tokenizer.to_str())["model"]
    vocab, merges = trained["vocab"], [tuple(m) for m in trained["merges"]]
    if name == "llama-bpe":
        for word in [" world", "hello", "123", "456", "!!!!", " " * 7, "世界"]:
            vocab.setdefault("".join(alphabet()[b] for b in word.encode()), len(vocab))
    full = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=name == "llama-bpe"))
    full.pre_tokenizer = PIPELINES[name]
    full.add_special_tokens([AddedToken(t, special=True, normalized=False)
                             for t in ["<|im_start|>", "<|im_end|>"]])
    return full, vocab, merges


def alphabet():
    """GPT-2's byte alphabet: byte -> character."""
    table, extra = {}, 0
    for byte in range(256):
        if 0x21 <= byte <= 0x7E or 0xA1 <= byte <= 0xAC or byte >= 0xAE:
            table[byte] = chr(byte)
        else:
            table[byte] = chr(0x100 + extra)
            extra += 1
    return table


def write_small():
    corpus = golden_text.SENTENCES * 3 + golden_text.CODE
    result = {}
    for number, name in enumerate(PIPELINES):
        tokenizer, vocab, merges = small_tokenizer(name, corpus)
        cases = []
        for text in golden_text.strings(seed=10 + number, count=400):
            # One character of the byte alphabet is one byte.
            pieces = [len(piece) for piece, _ in PIPELINES[name].pre_tokenize_str(text)]
            special, plain = encode_both(tokenizer, text)
            cases.append({"text": text, "ids": plain, "special_ids": special,
                          "piece_bytes": pieces})
        result[name] = {"tokens": [t for t, _ in sorted(vocab.items(), key=lambda item: item[1])],
                        "merges": [" ".join(merge) for merge in merges], "cases": cases}
    with open(HERE / "tokenizer_small.json", "w", encoding="utf-8") as out:
        json.dump(result, out, ensure_ascii=False, separators=(",", ":"))
        out.write("\n")


if __name__ == "__main__":
    write_smollm(smollm_tokenizer(sys.argv[1]))
    write_small()
