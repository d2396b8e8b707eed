"""PyTorch networks quantised by ONNX Runtime's static quantiser; expected outputs are onnxruntime's, not optimised.

Scales and zero points come from calibration and are arbitrary: their roundings of ties are as near as float32 has them.
"""
import logging
import pathlib
import tempfile

import numpy as np
import onnx
import torch
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import nn
from torch.nn import functional as F

from make import Made, by_onnxruntime, network
from nets_torch import Net, bn, frames

logging.getLogger().setLevel(logging.ERROR)
QDQ, QOP = "ONNX Runtime 1.32.0 QDQ", "ONNX Runtime 1.32.0 QOperator"
SOURCE = "onnxruntime, no optimisation"
U8, S8, U16, S16, U4, S4 = (QuantType[k] for k in ("QUInt8", "QInt8", "QUInt16", "QInt16", "QUInt4", "QInt4"))


class Frames(CalibrationDataReader):
    def __init__(self, x):
        self.left = iter([{"x": x[i : i + 1]} for i in range(len(x))])

    def get_next(self):
        return next(self.left, None)


def made(build, x, *, form=QuantFormat.QDQ, acts=U8, weights=S8, per_channel=False, seed=1, opset=17, raw=False, pre=True, **more):
    torch.manual_seed(seed)
    net = build().eval()
    with tempfile.TemporaryDirectory() as d, torch.no_grad():
        d = pathlib.Path(d)
        torch.onnx.export(net, (torch.tensor(x[:1]),), str(d / "float.onnx"), dynamo=False, input_names=["x"], output_names=["y"], opset_version=opset)
        source = d / "float.onnx"
        if pre:
            quant_pre_process(source, d / "pre.onnx", skip_symbolic_shape=True)
            source = d / "pre.onnx"
        calibrate = np.random.default_rng(seed + 500).permutation(np.concatenate([x, x * np.float32(0.7), -x * np.float32(0.9)]))
        quantize_static(source, d / "q.onnx", Frames(calibrate), quant_format=form, activation_type=acts, weight_type=weights, per_channel=per_channel, **more)
        model = onnx.load(d / "q.onnx")
    return Made(model, {"x": x}, by_onnxruntime(model, {"x": x}), SOURCE)


def cnn():
    return nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), bn(nn.BatchNorm2d(6), 1, 0.3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 4))


def mlp():
    return nn.Sequential(nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 4))


def residual():
    def run(n, x):
        x = F.relu(n.c0(x))
        x = F.relu(n.c2(F.relu(n.c1(x))) + x)
        x = F.relu(n.c4(F.relu(n.c3(x))) + n.s(x))
        return n.d(F.adaptive_avg_pool2d(x, 1).flatten(1))
    c = lambda i, o, k=3, **m: nn.Conv2d(i, o, k, padding=k // 2, **m)
    return Net(run, c0=c(2, 4), c1=c(4, 4), c2=c(4, 4), c3=c(4, 6, stride=2), c4=c(6, 6), s=c(4, 6, 1, stride=2), d=nn.Linear(6, 3))


def concat():
    def run(n, x):
        return n.c3(torch.cat([F.relu(n.c1(x)), F.relu(n.c2(x)), F.max_pool2d(x, 3, 1, 1)], 1))
    return Net(run, c1=nn.Conv2d(2, 3, 3, padding=1), c2=nn.Conv2d(2, 3, 1), c3=nn.Conv2d(8, 3, 3))


QOPERATOR = {"form": QuantFormat.QOperator}


@network("ort_mlp_u8s8", QDQ, "MLP, activations uint8, weights int8")
def _():
    return made(mlp, frames(200, 16))


@network("ort_mlp_s8s8_percentile", QDQ, "MLP, int8 both, percentile calibration, symmetric")
def _():
    return made(mlp, frames(201, 16), acts=S8, calibrate_method=CalibrationMethod.Percentile, extra_options={"ActivationSymmetric": True})


@network("ort_mlp_u8u8_reduced", QDQ, "MLP, weights uint8 with zero points, reduced range, a scale for each channel")
def _():
    return made(mlp, frames(202, 16), weights=U8, per_channel=True, reduce_range=True)


@network("ort_mlp_qop_u8u8", QOP, "MLP in QGemm, weights uint8 with zero points")
def _():
    return made(mlp, frames(203, 16), weights=U8, **QOPERATOR)


@network("ort_mlp_qop_s8s8", QOP, "MLP without biases in QLinearMatMul, int8 both")
def _():
    class M(nn.Module):
        def __init__(self, i, o):
            super().__init__()
            self.w = nn.Parameter(torch.randn(i, o) / i**0.5)
        def forward(self, x):
            return x @ self.w
    return made(lambda: nn.Sequential(M(16, 12), nn.ReLU(), M(12, 4)), frames(204, 16), acts=S8, **QOPERATOR)


@network("ort_mlp_w4", QDQ, "MLP, weights int4 in com.microsoft DequantizeLinear, activations int8")
def _():
    return made(mlp, frames(205, 16), acts=S8, weights=S4, opset=18, pre=False)


@network("ort_mlp_a16", QDQ, "MLP, activations uint16, weights int8 (opset 21)")
def _():
    return made(mlp, frames(206, 16), acts=U16, opset=18, pre=False)


@network("ort_cnn_s8s8_channels", QDQ, "CNN, int8 both, a scale for each channel of the weights")
def _():
    return made(cnn, frames(207, 2, 8, 8), acts=S8, per_channel=True)


@network("ort_cnn_u8u8_channels", QDQ, "CNN, weights uint8 with a zero point for each channel")
def _():
    return made(cnn, frames(208, 2, 8, 8), weights=U8, per_channel=True)


@network("ort_cnn_qop_channels", QOP, "CNN in QLinearConv and QGemm, int8 weights for each channel, uint8 activations")
def _():
    return made(cnn, frames(209, 2, 8, 8), per_channel=True, **QOPERATOR)


@network("ort_cnn_qop_u8u8", QOP, "CNN in QLinearConv, uint8 weights, strides and groups")
def _():
    return made(lambda: nn.Sequential(nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, groups=2, padding=(0, 1), bias=False), nn.ReLU(), nn.Conv2d(6, 3, 1)),
                frames(210, 2, 9, 9), weights=U8, **QOPERATOR)


@network("ort_cnn_not_folded", QDQ, "batch normalisation not folded into the convolution, opset 15")
def _():
    return made(cnn, frames(211, 2, 8, 8), opset=15, pre=False)


@network("ort_res_s8s8", QDQ, "residual CNN, int8 both, own scales of each summand")
def _():
    return made(residual, frames(212, 2, 6, 6), acts=S8, per_channel=True)


@network("ort_res_qop", QOP, "residual CNN with QLinearAdd and QLinearGlobalAveragePool")
def _():
    return made(residual, frames(213, 2, 6, 6), **QOPERATOR)


@network("ort_cat_three", QDQ, "concatenation of two branches and of the pooled input, own scales")
def _():
    return made(concat, frames(214, 2, 5, 5), acts=S8)


@network("ort_cat_qop", QOP, "QLinearConcat of three branches")
def _():
    return made(concat, frames(215, 2, 5, 5), **QOPERATOR)


@network("ort_dw_relu6", QDQ, "depthwise separable with ReLU6, global average, two dense layers")
def _():
    return made(lambda: nn.Sequential(nn.Conv2d(3, 3, 3, groups=3, padding=1), nn.ReLU6(), nn.Conv2d(3, 6, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)),
                frames(216, 3, 6, 6), per_channel=True)


@network("ort_avgpool", QDQ, "AvgPool2d 2 and 3 stride 2; averages of one scale are ties, which float32 sees otherwise than exact sums")
def _():
    return made(lambda: nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.AvgPool2d(3, 2, 1), nn.Flatten(), nn.Linear(16, 3)),
                frames(217, 2, 8, 8))


@network("ort_sigmoid_tanh", QDQ, "Sigmoid and Tanh between layers")
def _():
    return made(lambda: nn.Sequential(nn.Linear(16, 12), nn.Sigmoid(), nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 4)), frames(218, 16))


@network("ort_sigmoid_leaky_qop", QOP, "QLinearSigmoid and QLinearLeakyRelu")
def _():
    return made(lambda: nn.Sequential(nn.Linear(16, 12), nn.Sigmoid(), nn.Linear(12, 12), nn.LeakyReLU(0.2), nn.Linear(12, 4)), frames(219, 16), **QOPERATOR)


@network("ort_hardswish_leaky", QDQ, "Hardswish as a product with HardSigmoid, LeakyReLU, convolutions")
def _():
    return made(lambda: nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Hardswish(), nn.Conv2d(4, 4, 3), nn.LeakyReLU(0.1), nn.Flatten(), nn.Linear(36, 3)), frames(220, 2, 5, 5), opset=13)


@network("ort_se", QDQ, "squeeze and excite: product with HardSigmoid of the average")
def _():
    def run(n, x):
        x = F.relu(n.c(x))
        return n.o(x * F.hardsigmoid(n.e(F.relu(n.s(F.adaptive_avg_pool2d(x, 1))))))
    return made(lambda: Net(run, c=nn.Conv2d(2, 4, 3, padding=1), s=nn.Conv2d(4, 2, 1), e=nn.Conv2d(2, 4, 1), o=nn.Conv2d(4, 3, 3)), frames(221, 2, 5, 5))


@network("ort_transposed", QDQ, "ConvTranspose2d 2x2 and Resize nearest")
def _():
    return made(lambda: nn.Sequential(nn.Conv2d(1, 3, 3, stride=2, padding=1), nn.ReLU(), nn.ConvTranspose2d(3, 3, 2, 2), nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv2d(3, 1, 3)),
                frames(222, 1, 6, 6))


@network("ort_softmax_int32_bias", QDQ, "Softmax behind the last layer, no quantiser of the output")
def _():
    return made(lambda: nn.Sequential(nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 4), nn.Softmax(-1)), frames(223, 16), op_types_to_quantize=["Gemm", "MatMul"])


@network("ort_conv1d", QDQ, "1-D CNN, int8, MaxPool1d")
def _():
    return made(lambda: nn.Sequential(nn.Conv1d(2, 4, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(4, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3)), frames(224, 2, 16), acts=S8)
