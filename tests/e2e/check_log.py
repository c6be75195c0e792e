"""Compares lines of a log with the schema: check_log.py SCHEMA LOG

Prints each kind of fault once, and ends with 1 if there is one. Needs Debian's python3-jsonschema.
"""
import json
import sys

import jsonschema


def main():
    schema_path, log_path = sys.argv[1:]
    with open(schema_path, encoding="utf-8") as file:
        schema = json.load(file)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    faults = {}
    count = 0
    with open(log_path, encoding="utf-8") as log:
        for text in log:
            count += 1
            line = json.loads(text)
            for error in validator.iter_errors(line):
                faults.setdefault((line.get("event"), error.message), text)
    for (event, message), text in faults.items():
        print(f"{event}: {message}\n  {text}", end="")
    if count == 0:
        print("there is no line")
    return 1 if faults or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
