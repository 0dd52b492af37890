"""The engine's side of the conversation with driver.py; protocol.rs is the same in Rust.

Command line: WEIGHTS INPUT SIZE PRECISION ADAPTER [MODE]; the folder of WEIGHTS holds the other model files.
An engine says `ready JSON` or `absent REASON`. It answers `run` with `ms 12.3`, the time from host input to host
output, and `save PATH` with `saved`, having written the last output there as raw f32.
"""

import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

# Output of libraries must not mix with the protocol.
talk = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)


def arguments():
    weights, data, size, precision, adapter, *mode = sys.argv[1:]
    size = int(size)
    return SimpleNamespace(
        models=Path(weights).parent, input=np.fromfile(data, np.float32).reshape(1, 3, size, size), size=size,
        f16=precision == "f16", adapter=adapter, mode=mode[0] if mode else "", threads=int(os.environ["PEERS_THREADS"]),
    )


def absent(reason):
    print("absent", " ".join(str(reason).split()), file=talk)
    sys.exit()


def engine(main):
    """Runs `main(arguments) -> (info, run)` and serves `run() -> output`; an exception on the way is an absence."""
    try:
        info, run = main(arguments())
    except Exception as e:
        absent(f"{type(e).__name__}: {e}"[:300])
    print("ready", json.dumps(info), file=talk)
    output = None
    for line in sys.stdin:
        command, _, path = line.strip().partition(" ")
        if command == "save":
            np.ascontiguousarray(output, np.float32).tofile(path)
            print("saved", file=talk)
        else:
            start = time.perf_counter()
            output = run()
            print("ms", (time.perf_counter() - start) * 1e3, file=talk)
