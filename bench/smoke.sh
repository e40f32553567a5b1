#!/bin/sh
# smoke.sh BENCH FILE: a quick run must end well and leave JSON with every section in FILE.
set -eu
rm -f "$2"
"$1" --quick --json "$2"
python3 - "$2" <<'END'
import json, sys
figures = json.load(open(sys.argv[1]))["figures"]
sections = {f["section"] for f in figures}
assert len(sections) == 17, sections
assert all(f["ours"] > 0 for f in figures), figures
END
