"""Carries out peers' work in their own environment: `python -m tests.bench.worker duckdb`.

Reads requests and writes answers, each a JSON object a line; the answers go to what was standard
output, and whatever else is printed to standard error. It serves until its input ends, so that a
JVM stays warm from one request to the next.
"""

import importlib
import json
import os
import sys
import time


def serve(engine: str) -> None:
    """Answer each request, {"peer", "work"}, with what the peer found and its seconds.

    An engine's module has `PEERS`, name -> the function that does a peer's work.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    peers = importlib.import_module(f"tests.bench.{engine}_peers").PEERS
    for line in sys.stdin:
        request = json.loads(line)
        begun = time.monotonic()
        found = peers[request["peer"]](request["work"])
        found["seconds"] = time.monotonic() - begun
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
