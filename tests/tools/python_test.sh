#!/bin/sh
# Runs a test written in Python: python_test.sh TEST.py
exec python3 "$@"
