"""One process of `network_alone.py`, for engines that are not TensorFlow; it runs in their own environment.

    python bench/other_engines.py onnxruntime|openvino|openvino-bfloat16 MODEL.onnx PIXELS.npy SECONDS FEATURES.npy
    python bench/other_engines.py export NETWORK.npz MODEL.onnx
    python bench/other_engines.py versions

``export`` writes Verger's folded network as an ONNX model, from the arrays and the layers in an .npz file: the same
numbers as TensorFlow gets, with nothing converted in between.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import version

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from engine_loop import BATCH, Infer, measure


def export(network: str, path: str) -> None:
    """Write the network as ONNX: photographs, uint8 (32, s, s, 3), to features, float32 (32, d)."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    arrays = dict(np.load(network))
    layers, size = json.loads(str(arrays["layers"])), int(arrays["input_size"])
    constants = {"divide": np.float32(127.5), "one": np.float32(1), "zero": np.float32(0), "six": np.float32(6)}
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["turned"], perm=[0, 3, 1, 2]),
        helper.make_node("Div", ["turned", "divide"], ["divided"]),
        helper.make_node("Sub", ["divided", "one"], ["input"]),
    ]
    value, kept = "input", "input"
    for number, layer in enumerate(layers):
        made = f"value_{number}"
        if layer == "keep":
            kept = value
            continue
        if layer == "add":
            nodes.append(helper.make_node("Add", [value, kept], [made]))
        else:
            name, stride, activation, depthwise = (layer[key] for key in ("name", "stride", "activation", "depthwise"))
            kernel = arrays[f"{name}/kernel"]  # height, width, channels in, channels out
            constants[f"{name}/kernel"] = kernel.transpose(2, 3, 0, 1) if depthwise else kernel.transpose(3, 2, 0, 1)
            constants[f"{name}/bias"] = arrays[f"{name}/bias"]
            convolved = f"{made}_linear" if activation else made
            nodes.append(
                helper.make_node(
                    "Conv",
                    [value, f"{name}/kernel", f"{name}/bias"],
                    [convolved],
                    auto_pad="SAME_UPPER",
                    strides=[stride, stride],
                    group=kernel.shape[2] if depthwise else 1,
                )
            )
            if activation:
                nodes.append(helper.make_node("Clip", [convolved, "zero", "six"], [made]))
        value = made
    nodes.append(helper.make_node("GlobalAveragePool", [value], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["features"]))
    graph = helper.make_graph(
        nodes,
        "folded",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, [BATCH, size, size, 3])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [BATCH, int(arrays["dimension"])])],
        [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def onnxruntime(model: str) -> Infer:
    """ONNX Runtime, one thread."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(None, {"pixels": pixels})[0]


def openvino(model: str, precision: str) -> Infer:
    """OpenVINO, one thread, which it must not bind to the core of another process."""
    import openvino as ov

    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }
    compiled = ov.Core().compile_model(model, "CPU", settings)
    request = compiled.create_infer_request()
    return lambda pixels: request.infer([pixels])[compiled.output(0)]


def main() -> None:
    """Measure one engine in this process, or export the model, or say the versions."""
    what, *rest = sys.argv[1:]
    if what == "versions":
        print(json.dumps({name: version(name) for name in ("onnx", "onnxruntime", "openvino")}))
    elif what == "export":
        export(*rest)
    else:
        model, pixels, seconds, features = rest
        precision = "bf16" if what.endswith("bfloat16") else "f32"
        infer = onnxruntime(model) if what == "onnxruntime" else openvino(model, precision)
        measure(infer, np.load(pixels), float(seconds), features)


if __name__ == "__main__":
    main()
