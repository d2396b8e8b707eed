#!/usr/bin/env python3
"""Says what a build of stoxnor makes of the networks of this directory, and writes it into table.tsv.

    python state.py PATH_OF_STOXNOR [NAME ...]

Needs numpy only. `equal`: `stoxnor run` exits with 0 and no output is more than 1e-5 of the largest expected one away from
what the framework computed; `differs`; `refused CODE`; `panic`. The note is the first line of the diagnostic, or how far
the outputs are off. A network with several inputs is run with `--input NAME=FILE` for each, and
with the first one only by a build that doesn't take that.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np

HERE = pathlib.Path(__file__).parent


def files(where, stem):
    if (where / f"{stem}.npy").exists():
        return {None: where / f"{stem}.npy"}
    return {f.stem[len(stem) + 1 :]: f for f in sorted(where.glob(f"{stem}_*.npy"))}


def state(binary, where):
    inputs, expected = files(where, "input"), files(where, "expected")
    with tempfile.TemporaryDirectory() as scratch:
        first = pathlib.Path(scratch) / "y.npy"
        command = [binary, "run", str(where / "model.onnx"), "--quiet", "--output", str(first)]
        if (where / "config.toml").exists():
            command += ["--config", str(where / "config.toml")]
        given = [a for key, f in inputs.items() for a in ("--input", str(f) if key is None else f"{key}={f}")]
        try:
            done = run(command + given)
            if done.returncode == 2 and "error[" not in done.stderr:
                # This build takes one input: what it says of the model itself.
                done = run(command + ["--input", str(next(iter(inputs.values())))])
        except subprocess.TimeoutExpired:
            return "timeout", "300 s"
        if "panicked at" in done.stderr or done.returncode not in (0, 1, 2):
            lines = done.stderr.strip().splitlines()
            at = next((i for i, line in enumerate(lines) if "panicked at" in line), 0)
            place = re.sub(r"^thread .* panicked at ", "", lines[at]) if lines else f"exit {done.returncode}"
            return "panic", " ".join([place] + lines[at + 1 : at + 2])
        if done.returncode:
            found = re.search(r"error\[([a-z0-9-]+)\]: (.*)", done.stderr)
            return (f"refused {found[1]}", found[2]) if found else ("refused", (done.stderr.strip().splitlines() or [""])[0])
        worst = 0.0
        for key in expected:
            file = first.with_name(f"y.{key}.npy")
            file = file if key is not None and file.exists() else first
            want, got = np.load(expected[key]), np.load(file)
            if want.size != got.size:
                return "differs", f"shape {list(got.shape)} where {list(want.shape)} is wanted"
            off = np.abs(want.reshape(-1).astype(np.float64) - got.reshape(-1)).max()
            worst = max(worst, off / max(np.abs(want).max(), 1e-30))
        return ("equal", "") if worst <= 1e-5 else ("differs", f"{worst:.3g} of the largest")


def run(command):
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def main():
    binary, names = sys.argv[1], sys.argv[2:]
    table = HERE / "table.tsv"
    head, *lines = [line.split("\t") for line in table.read_text().splitlines()]
    rows = [dict(zip(head, line)) for line in lines]
    for row in rows:
        if not names or row["name"] in names:
            row["state"], row["note"] = state(binary, HERE / row["name"])
            row["note"] = row["note"].replace("\t", " ").replace(f"{HERE}/", "")[:200]
    table.write_text("".join("\t".join(line) + "\n" for line in [head] + [[r[c] for c in head] for r in rows]))
    counts = {}
    for row in rows:
        counts[row["state"]] = counts.get(row["state"], 0) + 1
    for key in sorted(counts):
        print(f"{counts[key]:4} {key}")


if __name__ == "__main__":
    main()
