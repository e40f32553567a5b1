#!/usr/bin/env python3
"""test_targets.py DIRECTORY [--suite NAME]... [NAME]...

The files that ninja has to build for these tests of a build directory, one a line; without arguments
for all of them. `meson test` would build them itself, but not before it runs, nor say how far it is.
"""

import json
import os
import subprocess
import sys


def introspect(directory: str, what: str) -> list:
    out = subprocess.run(["meson", "introspect", directory, what], check=True, capture_output=True)
    return json.loads(out.stdout)


def main() -> None:
    directory, *arguments = sys.argv[1:]
    suites, names = set(), set()
    words = iter(arguments)
    for word in words:
        if word == "--suite":
            suites.add(next(words, ""))
        elif not word.startswith("-"):
            names.add(word)
    wanted = set()
    for test in introspect(directory, "--tests"):
        # a suite is "project:suite"
        in_suite = any(suite.split(":")[-1] in suites for suite in test["suite"])
        if (not suites or in_suite) and (not names or test["name"] in names):
            wanted.update(test["depends"])
    root = os.path.realpath(directory)
    for target in introspect(directory, "--targets"):
        if target["id"] in wanted:
            for path in target["filename"]:
                print(os.path.relpath(path, root))


main()
