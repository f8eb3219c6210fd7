"""Holds the golden vectors against the published schemas. Runs in Schemathesis' environment:
`vectors.py CASES.json` prints what is wrong with each case that doesn't fit, as one JSON object.
"""

import json
import sys
from pathlib import Path

from items import components, lines, problem, validator

given = json.loads(Path(sys.argv[1]).read_text())
known = components(given["document"])
wrong = {}
for case in given["cases"]:
    schema = json.dumps(case["schema"], sort_keys=True)
    if "kind" in case:
        for line in lines(case["kind"], case["content"].encode()):
            if problem(schema, case["kind"], line, known) is not None:
                wrong[case["name"]] = line
    else:
        for error in validator(schema, known).iter_errors(case["value"]):
            wrong[case["name"]] = f"{error.message} at {error.instance_path}"
print(json.dumps({"checked": len(given["cases"]), "wrong": wrong}))
