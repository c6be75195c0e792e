#!/usr/bin/env python3
"""Makes the golden data of Jinja with transformers and jinja2 (5.24 and 3.1.6 were used).

    python3 tests/golden/make_jinja_golden.py

writes beside itself:

    jinja_templates.jsonl   our own chat templates, over the conversations of chat_cases.py
    jinja_snippets.jsonl    one construct each, with its result; null where Jinja refuses
    jinja_random.jsonl      random expressions, likewise
"""

import json
import pathlib
import random

import chat_cases
from jinja_snippets import SNIPPETS, TEMPLATES

HERE = pathlib.Path(__file__).resolve().parent

VARIABLES = {"d": {"b": 2, "a": [1, 2.5, None], "items": "x", "é\"": {"k": True}},
             "n": -7, "f": 2.5, "s": " Ab<|x|>é\n", "l": ["b", "A", "c", "a"],
             "r": [{"n": "y", "v": 2}, {"n": "x", "v": 1}, {"n": "z"}], "t": "a,b,,c",
             "big": 9007199254740993, "e": "", "w": "it's a \"q\" \\ \t\u2028x"}
CONVERSATION = {"messages": [{"role": "user", "content": " hi\u00a0\n"},
                             {"role": "assistant", "content": "<|im_end|>"}],
                "variables": VARIABLES}


def unprintable(text):
    """Holds Python's own spelling of objects, with addresses and the like."""
    return any(part in text for part in ("<generator", "<jinja2", "<Loop", "<bound", "<built-in",
                                         "dict_items", "dict_keys", "dict_values", "range(",
                                         "<function", "<Macro", "Namespace", "<reversed", "<list_r",
                                         "<async", "<map", "<class", "<transf", "<method"))


class RandomExpression:
    """Random expressions that parse; many fail, in Jinja as with us."""

    def __init__(self, rng):
        self.rng = rng

    def pick(self, *choices):
        return self.rng.choice(choices)

    def leaf(self):
        return self.pick("'a'", "'<|x|>'", "'a b'", "0", "1", "3", "2.5", "true", "none", "d", "n", "f",
                         "s", "l", "r", "t", "e", "w", "missing", "messages[0].content", "d.a", "[]",
                         "{}", "(1, 'x')", "[3, 1, 2]", "d.items()", "range(4)", "big", "'Zz'")

    def filter(self, depth):
        sub = lambda: self.expression(depth - 1)
        return self.pick(
            lambda: "trim", lambda: "upper", lambda: "lower", lambda: "title", lambda: "capitalize",
            lambda: "length", lambda: "first", lambda: "last", lambda: "list", lambda: "string",
            lambda: "tojson", lambda: f"tojson(indent={self.pick(0, 2)})", lambda: "tojson(sort_keys=true)",
            lambda: "tojson(ensure_ascii=true)", lambda: f"join({self.pick('', repr(', '))})",
            lambda: f"default({sub()})", lambda: f"default({sub()}, true)", lambda: "int", lambda: "float",
            lambda: "abs", lambda: "sort", lambda: "sort(reverse=true)", lambda: "unique | list",
            lambda: "reverse | list", lambda: "dictsort", lambda: "items | list",
            lambda: "map('upper') | list", lambda: "map(attribute='n') | list",
            lambda: "select | list", lambda: f"reject('equalto', {sub()}) | list",
            lambda: "selectattr('v') | list", lambda: "rejectattr('v', 'defined') | list",
            lambda: f"replace({self.pick(repr('a'), repr(''))}, {sub()})", lambda: "indent(2)",
            lambda: "indent(1, true)", lambda: "min", lambda: "max", lambda: "sum", lambda: "round",
        )()

    def method(self, depth):
        sub = lambda: self.expression(depth - 1)
        return self.pick(
            lambda: "strip()", lambda: f"split({self.pick('', repr(','), 'none, 1')})",
            lambda: f"rsplit({self.pick(repr(','), repr(',') + ', 1')})", lambda: "lstrip(' A')",
            lambda: "rstrip()", lambda: "upper()", lambda: "title()", lambda: "splitlines()",
            lambda: f"startswith({sub()})", lambda: f"endswith({sub()})", lambda: f"find({sub()})",
            lambda: f"replace({sub()}, {sub()})", lambda: f"get({sub()})", lambda: f"get('a', {sub()})",
            lambda: "keys() | list", lambda: "values() | list", lambda: f"count({sub()})",
            lambda: f"index({sub()})", lambda: f"join({sub()})", lambda: "append(1)", lambda: "a", lambda: "n",
            lambda: "items", lambda: "isdigit()", lambda: "removeprefix('a')", lambda: "partition(',')",
        )()

    def expression(self, depth):
        if depth <= 0:
            return self.leaf()
        sub = lambda: self.expression(depth - self.rng.randint(1, 2))
        operator = self.pick("+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", "<=", ">", ">=", "in",
                             "not in", "and", "or")
        bound = lambda: self.pick("", "", "0", "1", "2", "-1", "-2", "5", "n")
        return self.pick(
            lambda: f"({sub()} {operator} {sub()})", lambda: f"({sub()} {operator} {sub()})",
            lambda: f"({sub()}) | {self.filter(depth)}", lambda: f"({sub()}) | {self.filter(depth)}",
            lambda: f"({sub()}).{self.method(depth)}", lambda: f"({sub()})[{sub()}]",
            # Jinja folds constants, and a slice of one that has none is then undefined, not an error.
            lambda: self.pick("s", "l", "t", "d.a", "n", "missing", "r", "d", "e") +
            f"[{bound()}:{bound()}:{self.pick('', '1', '2', '-1')}]",
            lambda: f"[{sub()}, {sub()}]", lambda: f"-{sub()}",
            lambda: "{" + self.pick("'a'", "1", "n", "s", "none") + f": {sub()}}}",
            lambda: f"not {sub()}", lambda: f"({sub()} if {sub()} else {sub()})",
            lambda: f"({sub()} < {sub()} <= {sub()})",
            lambda: f"({sub()}) is {self.pick('', 'not ')}" + self.pick(
                "defined", "none", "string", "mapping", "iterable", "sequence", "number", "boolean",
                "integer", "float", "true", "false", "odd", "even", "divisibleby 2", "in [1, 'a']",
                "eq 1", "lower", "upper"),
            lambda: f"dict(a={sub()}).a", lambda: f"namespace(x={sub()}).x",
        )()


def write(name, templates):
    with open(HERE / name, "w", encoding="utf-8") as out:
        for template in templates:
            made = chat_cases.case("", template, CONVERSATION, True)
            out.write(json.dumps({"template": template, "text": made["text"]}, ensure_ascii=False) + "\n")


def random_templates(count, refused_max):
    rng = random.Random(31)
    found = {}
    refused = 0
    while len(found) < count:
        template = "{{ " + RandomExpression(rng).expression(rng.randint(1, 4)) + " }}"
        if len(template) > 200 or template in found:
            continue
        text, error = chat_cases.render(template, CONVERSATION, True)
        if error is not None:
            refused += 1
            if refused > refused_max:
                continue
        elif unprintable(text) or len(text) > 2000:
            continue
        found[template] = text
    return found


def main():
    with open(HERE / "jinja_templates.jsonl", "w", encoding="utf-8") as out:
        for name, template in TEMPLATES.items():
            for title, conversation in chat_cases.CONVERSATIONS.items():
                for prompt in (False, True):
                    made = chat_cases.case(f"{name} {title}", template, conversation, prompt)
                    out.write(json.dumps(made, ensure_ascii=False) + "\n")
    write("jinja_snippets.jsonl", SNIPPETS)
    write("jinja_random.jsonl", random_templates(count=3000, refused_max=900))


if __name__ == "__main__":
    main()
