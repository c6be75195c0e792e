#!/usr/bin/env python3
"""Makes the chat templates' golden data with Hugging Face's `transformers` (5.23 was used).

    python3 tests/golden/make_chat_golden.py SmolLM2-135M-Instruct.Q4_1.gguf

needs the Python packages transformers, tokenizers, gguf and jinja2, and writes beside itself:

    chat_smollm.jsonl    conversations, their text and ids under the model's own template
    chat_templates.json  our own templates, with their results (make_jinja_golden.py has every construct)
    chat_random.jsonl    random templates, with their results; null where Jinja refuses to render
"""

import json
import pathlib
import random
import sys

import gguf
from transformers import PreTrainedTokenizerFast

import golden_text
from make_tokenizer_golden import line, smollm_tokenizer

HERE = pathlib.Path(__file__).resolve().parent

TEMPLATES = {
    "chatml": "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
              "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
              "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
    "chatml_by_attribute": """\
{%- for m in messages -%}
    <|im_start|>{{ m.role }}
{{ m.content | trim }}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}
    <|im_start|>assistant
{% endif %}
""",
    "chatml_lines": """\
{# Blocks on lines of their own vanish. #}
{% for message in messages %}
    {% if loop.first and message.role != 'system' %}
<|im_start|>system
You are helpful.<|im_end|>
    {% elif message.role == "system" and not loop.first %}
        {{ raise_exception('A system message must come first, not at ' ~ loop.index) }}
    {% endif %}
<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor %}
{% if add_generation_prompt %}
<|im_start|>assistant
{% endif %}
""",
    "headers": """\
{% set loop_messages = messages %}{% for message in loop_messages %}\
{% set content = '<|start|>' + message['role'] + '<|end|>\\n\\n'+ message['content'] | trim + '<|eot|>' %}\
{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}\
{% if add_generation_prompt %}{{ '<|start|>assistant<|end|>\\n\\n' }}{% endif %}""",
    "alternating": """\
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] | trim + '\\n\\n' %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = '' %}
{%- endif %}
{{- bos_token }}
{%- for message in messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Roles must alternate user/assistant/user/assistant/...') }}
    {%- endif %}
    {%- if message['role'] == 'user' %}
        {{- '[INST] ' ~ (system_message if loop.first else '') ~ message['content'] | trim ~ ' [/INST]' }}
    {%- else %}
        {{- ' ' + message['content'] | trim + ' ' + eos_token }}
    {%- endif %}
{%- endfor %}
""",
    "tests": """\
{%- if tools is none and documents is not defined %}never{% endif %}
{%- if tools is none and nothing is not defined and messages is iterable %}plain{% endif %}
{%- for m in messages %}
{{ loop.index }}/{{ loop.length }} {{ loop.revindex }} {{ loop.revindex0 }} {{ loop.last }}
{%- if m.role in ['user', "tool"] %} asks{% elif m['role'] not in ['assistant'] %} sets{% endif %}
{%- if 'x' in m.content and m.content is string or m.content | length > 40 %} long{% endif %}
{%- if m.name is defined %} named{% endif %}{{ m.missing }}{{ m.content == messages[-1].content }}
{%- endfor %}
{{- "\\u2029\\x41\\t'" 'joined' }}{{ -3 % 5 + 2 * 4 - 1 }} {{ none }} {{ true and 'yes' or 'no' }}
""",
}

ROLES = ["system", "user", "assistant", "tool"]


def make_tokenizer(path):
    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    return PreTrainedTokenizerFast(
        tokenizer_object=smollm_tokenizer(path),
        bos_token=tokens[fields["tokenizer.ggml.bos_token_id"].contents()],
        eos_token=tokens[fields["tokenizer.ggml.eos_token_id"].contents()],
        chat_template=fields["tokenizer.chat_template"].contents())


def conversation(rng, texts):
    messages = []
    if rng.random() < 0.4:
        messages.append(("system", rng.choice(texts)))
    for turn in range(rng.randint(1, 5)):
        messages.append((["user", "assistant"][turn % 2], rng.choice(texts)))
    if rng.random() < 0.1:
        rng.shuffle(messages)
    return messages


def render(tokenizer, template, messages, add_generation_prompt):
    """The text, or None where the template or Jinja refuses."""
    try:
        return tokenizer.apply_chat_template(
            [{"role": role, "content": content} for role, content in messages],
            chat_template=template, tokenize=False, add_generation_prompt=add_generation_prompt)
    except Exception:  # Jinja raises errors of many kinds, Python's own among them.
        return None


def write_smollm(tokenizer, texts):
    rng = random.Random(21)
    with open(HERE / "chat_smollm.jsonl", "w", encoding="utf-8") as out:
        for _ in range(400):
            messages, prompt = conversation(rng, texts), rng.random() < 0.7
            arguments = {"conversation": [{"role": r, "content": c} for r, c in messages],
                         "add_generation_prompt": prompt}
            out.write(line(messages=messages, add_generation_prompt=prompt,
                           text=tokenizer.apply_chat_template(tokenize=False, **arguments),
                           ids=tokenizer.apply_chat_template(tokenize=True, return_dict=False,
                                                             **arguments)))


def write_templates(tokenizer, texts):
    rng = random.Random(22)
    result = []
    for name, source in TEMPLATES.items():
        cases = []
        for _ in range(25):
            messages, prompt = conversation(rng, texts), rng.random() < 0.5
            cases.append({"messages": messages, "add_generation_prompt": prompt,
                          "text": render(tokenizer, source, messages, prompt)})
        result.append({"name": name, "template": source, "cases": cases})
    with open(HERE / "chat_templates.json", "w", encoding="utf-8") as out:
        json.dump(result, out, ensure_ascii=False, separators=(",", ":"))
        out.write("\n")


class RandomTemplate:
    """Random templates that parse; some fail to render, in Jinja as with us."""

    def __init__(self, rng):
        self.rng = rng

    def pick(self, *choices):
        return self.rng.choice(choices)

    def expression(self, depth):
        pick, sub = self.pick, lambda: self.expression(depth - 1)
        if depth == 0:
            return pick("'a'", '" b\\n"', "'<|x|>'", "1", "0", "7", "true", "false", "none", "m.role",
                        "m['content']", "m.content", "loop.index0", "loop.first", "loop.last", "x",
                        "messages[0].role", "messages[-1]['content']", "bos_token", "missing",
                        "add_generation_prompt", "''", "loop.length", "messages")
        return pick(
            lambda: f"{sub()} + {sub()}", lambda: f"{sub()} ~ {sub()}",
            lambda: f"{sub()} == {sub()}", lambda: f"{sub()} != {sub()}",
            lambda: f"({sub()} and {sub()})", lambda: f"({sub()} or {sub()})",
            lambda: f"not {sub()}", lambda: f"({sub()})|trim", lambda: f"({sub()}) | length",
            lambda: f"({sub()} if {sub()} else {sub()})", lambda: f"({sub()}) is defined",
            lambda: f"({sub()}) is not none", lambda: f"({sub()}) is string",
            lambda: f"({sub()}) in [{sub()}, {sub()}]", lambda: f"({sub()}) - {sub()}",
            lambda: f"({sub()}) % {sub()}", lambda: f"({sub()}) * {pick('2', '3')}",
            lambda: f"({sub()}) < ({sub()})", lambda: f"-({sub()})",
            lambda: f"({sub()}) not in ({sub()})", lambda: f"messages[{pick('1:', ':1', '-1:', ':')}]",
        )()

    def text(self):
        return "".join(self.pick(" ", "  ", "\n", "\n", "\t", "a", "é", "<|im_end|>", "\r\n", "\u3000",
                                 "%", "{", "}", "{ %") for _ in range(self.rng.randint(0, 5)))

    def tag(self, body, output=False):
        begin, end = ("{{", "}}") if output else ("{%", "%}")
        left = self.pick("", "", "", "-", "" if output else "+")
        right = self.pick("", "", "", "-", "" if output else "+")
        return begin + left + " " + body + " " + right + end

    def block(self, depth):
        parts = [self.text()]
        for _ in range(self.rng.randint(1, 3)):
            kind = self.rng.randrange(6) if depth > 0 else self.rng.randrange(3)
            if kind <= 1:
                parts.append(self.tag(self.expression(self.rng.randint(0, 2)), output=True))
            elif kind == 2:
                parts.append(self.pick("{#- c -#}", "{# c #}", "{#+ c +#}",
                                       self.tag("set x = " + self.expression(1))))
            elif kind == 3:
                parts.append(self.tag("for m in " + self.pick("messages", "messages[1:]", "missing"))
                             + self.block(depth - 1) + self.tag("endfor"))
            else:
                parts.append(self.tag("if " + self.expression(1)) + self.block(depth - 1))
                if self.rng.random() < 0.3:
                    parts.append(self.tag("elif " + self.expression(1)) + self.block(depth - 1))
                if self.rng.random() < 0.5:
                    parts.append(self.tag("else") + self.block(depth - 1))
                parts.append(self.tag("endif"))
            parts.append(self.text())
        return "".join(parts)


def write_random(tokenizer):
    rng = random.Random(23)
    messages = [("user", " hi\u00a0\n"), ("assistant", "a"), ("user", "<|im_end|>")]
    found = {}
    failed = 0
    while len(found) < 1000:
        source = RandomTemplate(rng).block(3)
        if len(source) > 400 or source in found:
            continue
        text = render(tokenizer, source, messages, True)
        if text is None:
            if failed >= 150:
                continue
            failed += 1
        elif "[{" in text or "{'" in text or "<jinja2" in text or "<Loop" in text:
            continue  # Python's own spelling of values: make_jinja_golden.py has that of lists and mappings.
        found[source] = text
    with open(HERE / "chat_random.jsonl", "w", encoding="utf-8") as out:
        for source, text in found.items():
            out.write(line(template=source, text=text))


if __name__ == "__main__":
    hf = make_tokenizer(sys.argv[1])
    # Without spellings of control tokens: there we differ on purpose.
    benign = [t for t in golden_text.strings(seed=20, count=600)
              if "<|" not in t and "_" not in t and len(t) < 160]
    write_smollm(hf, benign)
    write_templates(hf, benign[:200])
    write_random(hf)
