#!/usr/bin/env python3
"""Makes small tokenizer.json files with Hugging Face's `tokenizers` (0.23 was used), with texts and
their ids.

    python3 tests/golden/make_tokenizer_hf_golden.py

needs the Python packages tokenizers and gguf, and writes, beside itself in tokenizer_hf, for each
of gpt2, smollm, llama3 and qwen2 a directory with

    tokenizer.json         a vocabulary of 700 tokens, trained as make_tokenizer_golden.py does
    tokenizer_config.json  its special tokens
    cases.jsonl            texts, ids as a bare encode gives them (control tokens recognised, a BOS
                           where the file asks for one), and ids with neither

The files differ in what tokenizer.json files differ in: merges as texts or as pairs, an added token
that is no control token, a template that adds a BOS, an NFC normalizer (whose texts are in NFC
already: Ebb leaves them as they are), ids that stand for nothing.
"""

import json
import pathlib
import unicodedata

from tokenizers import AddedToken, decoders, normalizers, processors

import golden_text
import make_tokenizer_golden as small

HERE = pathlib.Path(__file__).resolve().parent / "tokenizer_hf"
CASES = 120


def with_added_tokens(name, tokenizer):
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    if name == "gpt2":
        tokenizer.add_tokens([AddedToken("<tool>", special=False, normalized=False),
                              AddedToken("()", special=False, normalized=False)])
    if name == "llama3":
        tokenizer.add_special_tokens([AddedToken("<|begin_of_text|>", normalized=False)])
        bos = tokenizer.token_to_id("<|begin_of_text|>")
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|>:1 $B:1",
            special_tokens=[("<|begin_of_text|>", bos)])
    if name == "qwen2":
        tokenizer.normalizer = normalizers.NFC()


def write(name, number, pipeline):
    corpus = golden_text.SENTENCES * 3 + golden_text.CODE
    tokenizer, _, _ = small.small_tokenizer(pipeline, corpus)
    with_added_tokens(name, tokenizer)
    directory = HERE / name
    directory.mkdir(parents=True, exist_ok=True)
    data = json.loads(tokenizer.to_str())
    if name in ("gpt2", "qwen2"):
        data["model"]["merges"] = [" ".join(pair) for pair in data["model"]["merges"]]
    (directory / "tokenizer.json").write_text(
        json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    config = {"eos_token": "<|im_end|>"}
    if name == "llama3":
        config["bos_token"] = {"content": "<|begin_of_text|>", "special": True}
    (directory / "tokenizer_config.json").write_text(json.dumps(config) + "\n", encoding="utf-8")
    with open(directory / "cases.jsonl", "w", encoding="utf-8") as out:
        texts = [t for t in golden_text.strings(seed=40 + number, count=CASES)
                 if unicodedata.is_normalized("NFC", t)]
        texts += ["call <tool>f()<|im_end|>x<|begin_of_text|>", "<|im_start|><|im_start"]
        for text in texts:
            tokenizer.encode_special_tokens = False
            ids = tokenizer.encode(text).ids
            tokenizer.encode_special_tokens = True
            plain = tokenizer.encode(text, add_special_tokens=False).ids
            out.write(small.line(text=text, ids=ids, plain_ids=plain))


if __name__ == "__main__":
    for number, (name, pipeline) in enumerate([("gpt2", "gpt2"), ("smollm", "smollm"),
                                               ("llama3", "llama-bpe"), ("qwen2", "qwen2")]):
        write(name, number, pipeline)
