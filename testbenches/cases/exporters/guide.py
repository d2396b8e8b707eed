#!/usr/bin/env python3
"""Runs the Python snippets of the guide's chapter "By exporter" and compares what stoxnor makes of their files with the frameworks.

    python guide.py PATH_OF_STOXNOR [SECTION ...]

A section's snippets run in their order, in one namespace and one empty directory, behind what `PREPARE` puts there. Each
file of `FILES` is then run by stoxnor on some frames. guide.json keeps, for each section, its snippets, the versions of
the packages that it names, and for each file `equal` (no output is more than 1e-5 of the largest away from the
framework's) or how far the outputs are off. A test demands that the guide's snippets are those of guide.json.
"""
import contextlib
import importlib.metadata
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
GUIDE = HERE.parents[2] / "src/guide/import.md"
RECORD = HERE / "guide.json"
SHAPE = (2, 8, 8)

# Files of each section, and the arguments that they need.
FILES = {
    "ONNX Runtime": {"model.onnx": [], "qoperator.onnx": [], "one_scale.onnx": []},
    "Brevitas": {"model.onnx": [], "qcdq.onnx": []},
    "QKeras": {"model.onnx": ["--input-bits", "9", "--input-fraction", "7"]},
    "Larq": {"model.onnx": []},
    "Plain PyTorch": {"model.onnx": [], "dynamo.onnx": []},
}


def snippets():
    """Sections of the chapter: name, versions that the text names, snippets."""
    chapter = GUIDE.read_text().split("\n## By exporter\n")[1]
    for section in chapter.split("\n### ")[1:]:
        name, text = section.split("\n", 1)
        yield name, re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)


def float_model():
    """float.onnx: two branches that are concatenated, as a PyTorch user has it."""
    import torch

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = torch.nn.Conv2d(2, 4, 3, padding=1)
            self.b = torch.nn.Conv2d(2, 4, 1)
            self.dense = torch.nn.Linear(8 * 64, 10)

        def forward(self, x):
            return self.dense(torch.cat([self.a(x), self.b(x)], 1).flatten(1))

    x = torch.randn(1, *SHAPE)
    torch.onnx.export(Net().eval(), (x,), "float.onnx", dynamo=False, input_names=["x"], output_names=["y"])


def frames_of(section):
    frames = np.random.default_rng(7).normal(0, 0.7, (8, *SHAPE)).astype(np.float32)
    if section == "QKeras":
        frames = np.clip(np.round(frames * 128), -256, 255).astype(np.float32) / 128
        frames = np.moveaxis(frames, 1, -1)
    return np.ascontiguousarray(frames)


def expected(section, file, names, frames):
    """The framework's outputs, frame by frame."""
    if section == "ONNX Runtime":
        ort = names["onnxruntime"]
        session = ort.InferenceSession(file, names["options"], providers=["CPUExecutionProvider"])
        return np.concatenate([session.run(None, {"x": f[None]})[0] for f in frames])
    if section in ("QKeras", "Larq"):
        frames = np.moveaxis(frames, 1, -1) if section == "Larq" else frames
        return np.concatenate([names["net"](f[None], training=False).numpy() for f in frames])
    import torch

    with torch.no_grad():
        results = [names["net"](torch.tensor(f[None])) for f in frames]
    return np.concatenate([np.asarray(getattr(r, "value", r)) for r in results])


def compared(binary, file, arguments, frames, want):
    np.save("x.npy", frames)
    command = [binary, "run", file, "--quiet", "--input", "x.npy", "--output", "y.npy", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        return (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[0]
    off = np.abs(np.load("y.npy").reshape(want.shape) - want).max() / np.abs(want).max()
    return "equal" if off <= 1e-5 else f"{off:.3g} of the largest"


def seed():
    with contextlib.suppress(ImportError):
        import torch

        torch.manual_seed(1)
    with contextlib.suppress(ImportError):
        import tensorflow

        tensorflow.keras.utils.set_random_seed(1)


def versions(name):
    text = GUIDE.read_text().split(f"\n### {name}\n")[1].strip().splitlines()[0]
    packages = re.findall(r"([a-z0-9]+) \d+\.\d+\.\d+", text)
    return {package: importlib.metadata.version(package) for package in packages}


def main():
    binary, wanted = str(pathlib.Path(sys.argv[1]).resolve()), sys.argv[2:]
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    for name, parts in snippets():
        if wanted and name not in wanted:
            continue
        with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
            seed()
            frames = frames_of(name)
            names = {"frames": frames}
            if name == "ONNX Runtime":
                float_model()
            for part in parts:
                exec(compile(part, f"{name} of import.md", "exec"), names)
            results = {
                file: compared(binary, file, arguments, frames, expected(name, file, names, frames))
                for file, arguments in FILES[name].items()
            }
        record[name] = {"versions": versions(name), "snippets": parts, "results": results}
        print(name, record[name]["versions"], results, flush=True)
    order = [name for name, _ in snippets() if name in record]
    RECORD.write_text(json.dumps({name: record[name] for name in order}, indent=1) + "\n")


if __name__ == "__main__":
    main()
