#!/usr/bin/env python3
"""Makes the networks of this directory with real exporters, and stores the frameworks' own outputs.

    python -m venv venv && venv/bin/pip install -r requirements.txt && venv/bin/python make.py
    python -m venv keras && keras/bin/pip install -r requirements-keras.txt && keras/bin/python make.py nets_qkeras nets_larq
    venv/bin/python state.py ../../../target/release/stoxnor

`make.py NAME ...` makes the named ones, or those of the named modules, only. The networks stand in nets_*.py, one function for each, under
`@network(name, exporter, description)`; a module whose framework isn't installed is left out, and its rows of the table
stay as they are. Each network is a directory with model.onnx, input.npy (frames, [N, input shape without the batch]),
expected.npy (the framework's outputs, float32) and, where the graph doesn't quantise its real input, config.toml. With
several inputs or outputs the files are input_NAME.npy and expected_NAME.npy. table.tsv lists them; state.py fills in what
a build of stoxnor makes of each.

Weights are random with fixed seeds. What exporters write about the machine and the source that they ran on (doc strings,
stack traces) is taken out of the files; nothing else is changed behind an exporter. A second run writes the same files,
but for the order that tf2onnx gives to nodes and constants.

What make.py prints behind a network: where an executor of ONNX computes other outputs than the framework (exporters make
mistakes, too), where the framework in float64 does (a rounding hangs on float32's), and outputs that hardly vary.
"""
import importlib
import os
import pathlib
import shutil
import sys

import numpy as np
import onnx

HERE = pathlib.Path(__file__).parent
TABLE = HERE / "table.tsv"
COLUMNS = ["name", "exporter", "opset", "description", "source", "state", "note"]
MODULES = ["nets_brevitas", "nets_torch", "nets_ort", "nets_forms", "nets_qkeras", "nets_larq"]
NETWORKS = {}


class Made:
    """A network: the model, frames and outputs by name, who computed these, and the fixed point of a real input."""

    def __init__(self, model, inputs, outputs, source, fixed=None, double=None):
        """`double`: the outputs in float64, where a framework has them: roundings shall not hang on float32's."""
        self.model, self.inputs, self.outputs, self.source, self.fixed = model, inputs, outputs, source, fixed
        self.double = double


def network(name, exporter, description):
    def register(function):
        assert name not in NETWORKS, name
        NETWORKS[name] = (exporter, description, function)
        return function

    return register


def without_traces(model):
    """Takes out what tells of the machine: doc strings, stack traces."""

    def clean(proto):
        for field in ("doc_string", "metadata_props"):
            if any(f.name == field for f in proto.DESCRIPTOR.fields):
                proto.ClearField(field)

    def graph(g):
        clean(g)
        for list_ in (g.node, g.initializer, g.input, g.output, g.value_info):
            for item in list_:
                clean(item)
        for node in g.node:
            for a in node.attribute:
                a.ClearField("doc_string")
                if a.HasField("g"):
                    graph(a.g)

    clean(model)
    graph(model.graph)
    for f in model.functions:
        clean(f)
        for node in f.node:
            clean(node)
    return model


def by_onnxruntime(model, inputs):
    """Outputs of onnxruntime without its graph optimisations, frame by frame."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    frames = len(next(iter(inputs.values())))
    runs = [session.run(None, {k: v[i : i + 1] for k, v in inputs.items()}) for i in range(frames)]
    return {n: np.concatenate([np.asarray(r[i]) for r in runs]) for i, n in enumerate(names)}


def by_qonnx(model, inputs):
    """Outputs of qonnx's executor, frame by frame."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    runner = ModelWrapper(model).transform(InferShapes())
    frames = len(next(iter(inputs.values())))
    runs = [execute_onnx(runner, {k: v[i : i + 1] for k, v in inputs.items()}) for i in range(frames)]
    return {o.name: np.concatenate([np.asarray(r[o.name]) for r in runs]) for o in model.graph.output}


def off(made):
    """How far an executor of ONNX is from the framework's outputs, of the largest: exporters make mistakes, too."""
    qonnx = any("onnx." in n.domain or "finn" in n.domain for n in made.model.graph.node)
    try:
        if qonnx and any(v.dtype == np.uint8 for v in made.inputs.values()):
            return 0.0
        got = (by_qonnx if qonnx else by_onnxruntime)(made.model, made.inputs)
    except Exception as e:
        return f"{type(e).__name__}: {str(e)[:200]}"
    pairs = [(np.asarray(a, dtype=np.float64).reshape(-1), np.asarray(b).reshape(-1)) for a, b in zip(made.outputs.values(), got.values())]
    return max(np.abs(a - b).max() / max(np.abs(a).max(), 1e-30) if a.size == b.size else np.inf for a, b in pairs)


def opset_of(model):
    return next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))


def write(name, made):
    where = HERE / name
    if where.exists():
        shutil.rmtree(where)
    where.mkdir()
    onnx.save(without_traces(made.model), where / "model.onnx")
    for stem, arrays in (("input", made.inputs), ("expected", made.outputs)):
        for key, array in arrays.items():
            array = np.asarray(array)
            if stem == "expected" or array.dtype != np.uint8:
                array = array.astype(np.float32)
            assert np.isfinite(array).all(), f"{name}: {stem} {key}"
            plain = "".join(c if c.isalnum() or c == "_" else "_" for c in key)
            np.save(where / (f"{stem}.npy" if len(arrays) == 1 else f"{stem}_{plain}.npy"), array)
    if made.fixed:
        bits, fraction = made.fixed
        (where / "config.toml").write_text(f"[input]\nbits = {bits}\nfraction_bits = {fraction}\n")
    size = sum(f.stat().st_size for f in where.iterdir())
    remarks = []
    if size > 30_000:
        remarks.append(f"{size} BYTES")
    apart = off(made)
    if isinstance(apart, str) or apart > 1e-5:
        remarks.append(f"AN EXECUTOR IS OFF BY {apart}")
    for key, array in (made.double or {}).items():
        apart = np.abs(array - made.outputs[key]).max() / np.abs(array).max()
        if apart > 1e-5:
            remarks.append(f"FLOAT64 IS OFF BY {apart}")
    for key, array in made.outputs.items():
        flat = np.asarray(array, dtype=np.float32).reshape(len(array), -1)
        if any((flat[i] == flat[0]).all() for i in range(1, len(flat))) or len(np.unique(flat)) < 3:
            remarks.append(f"output {key} HARDLY VARIES: {flat[:3, :4].tolist()}")
    print(f"{name}: {size} bytes, opset {opset_of(made.model)} {' '.join(remarks)}", flush=True)


def read_table():
    if not TABLE.exists():
        return {}
    head, *lines = [line.split("\t") for line in TABLE.read_text().splitlines()]
    return {line[0]: dict(zip(head, line)) for line in lines}


def write_table(rows):
    lines = [COLUMNS] + [[str(rows[k][c]) for c in COLUMNS] for k in sorted(rows)]
    TABLE.write_text("".join("\t".join(line) + "\n" for line in lines))


def fixed_point(frames, bits, fraction):
    """Frames on the grid of a signed fixed-point input."""
    steps = np.clip(np.round(frames * 2.0**fraction), -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1)
    return (steps * 2.0**-fraction).astype(np.float32)


def main():
    if os.environ.get("PYTHONHASHSEED") != "0":
        # Sets keep their order from run to run.
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"PYTHONHASHSEED": "0"})
    sys.modules.setdefault("make", sys.modules[__name__])
    for module in MODULES:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as e:
            print(f"{module} is left out: {e}")
    rows, failed = read_table(), []
    wanted = [n for a in sys.argv[1:] for n in ([n for n, f in NETWORKS.items() if f[2].__module__ == a] or [a])]
    for name in wanted or NETWORKS:
        exporter, description, function = NETWORKS[name]
        try:
            made = function()
            write(name, made)
        except Exception as e:
            failed.append(name)
            print(f"{name}: FAILED: {type(e).__name__}: {str(e)[:600]}", flush=True)
            continue
        rows[name] = {
            "name": name, "exporter": exporter, "opset": opset_of(made.model), "description": description,
            "source": made.source, "state": "", "note": "",
        }
        write_table(rows)
    sys.exit(f"not made: {' '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
