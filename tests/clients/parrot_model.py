"""A model that says fixed texts, as a GGUF file: for answers that no small model gives by itself.

Every token has a direction of its own, attention and feed-forward add nothing, and the output turns
a token's direction into the next one's. So what it says depends on the last token alone: the control
token with which the chat template opens its turn.
"""

import gguf
import numpy as np

WIDTH = 512
HEADS = 8
END = "<|end|>"


def byte_alphabet():
    """GPT-2's: a printable character for each byte."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return dict(zip(plain, map(chr, plain))) | {
        byte: chr(256 + i) for i, byte in enumerate(others)}


def pieces_of(text, others):
    """Of a few characters each, so that streams come in pieces; a token's text stands once."""
    pieces = []
    while text:
        size = 3
        while text[:size] in [*others, *pieces] or 0 < len(text) - size < 3:
            size += 1
            assert size <= len(text), f"{text} stands twice"
        pieces.append(text[:size])
        text = text[size:]
    return pieces


def vocabulary(texts):
    """Tokens, their types, and for each token that is followed by one, which one that is."""
    alphabet = byte_alphabet()
    tokens = [*alphabet.values(), "he", END, *texts]
    types = [gguf.TokenType.NORMAL] * 257 + [gguf.TokenType.CONTROL] * (1 + len(texts))
    following = {}
    said = []
    for opening, text in texts.items():
        last = tokens.index(opening)
        pieces = pieces_of(text, said)
        said += pieces
        for piece in pieces:
            following[last] = len(tokens)
            last = len(tokens)
            tokens.append("".join(alphabet[ord(character)] for character in piece))
            types.append(gguf.TokenType.NORMAL)
        following[last] = tokens.index(END)
    return tokens, types, following


def add_tokenizer(writer, tokens, types, chat_template):
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(["h e"])
    writer.add_bos_token_id(tokens.index(END))
    writer.add_eos_token_id(tokens.index(END))
    writer.add_add_bos_token(False)
    writer.add_chat_template(chat_template)


def add_tensors(writer, count, following):
    output = np.zeros((count, WIDTH), np.float32)
    for token, after in following.items():
        output[after, token] = 1
    ones, square = np.ones(WIDTH, np.float32), np.zeros((WIDTH, WIDTH), np.float32)
    writer.add_tensor("token_embd.weight", np.eye(count, WIDTH, dtype=np.float32))
    writer.add_tensor("output.weight", output)
    for norm in ["output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"]:
        writer.add_tensor(f"{norm}.weight", ones)
    for part in ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]:
        writer.add_tensor(f"blk.0.{part}.weight", square)


def write(path, chat_template, texts):
    """`texts`: what it says after each of these control tokens, in ASCII."""
    tokens, types, following = vocabulary(texts)
    assert len(tokens) <= WIDTH, len(tokens)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("parrot")
    writer.add_block_count(1)
    writer.add_context_length(4096)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    add_tokenizer(writer, tokens, types, chat_template)
    add_tensors(writer, len(tokens), following)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
