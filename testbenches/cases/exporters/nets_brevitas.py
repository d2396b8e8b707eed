"""Networks that Brevitas exports, as QONNX and as QCDQ; expected outputs are PyTorch's."""
import tempfile
import warnings

import numpy as np
import torch
from brevitas.core.restrict_val import RestrictValueType
from brevitas.core.scaling import ScalingImplType
from brevitas.export import export_onnx_qcdq, export_qonnx
from brevitas import nn as qnn
from brevitas import quant as q
from brevitas.inject.enum import QuantType, ScalingPerOutputType
from torch import nn

import onnx
from make import Made, fixed_point, network
from nets_torch import in_double

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
QONNX, QCDQ = "Brevitas 0.13.4 QONNX", "Brevitas 0.13.4 QCDQ"
SOURCE = "PyTorch forward"

# Weights and activations: "Fixed" scales are powers of two, "Float" ones as training leaves them.
W2, W = q.Int8WeightPerTensorFixedPoint, q.Int8WeightPerTensorFloat
WPC = q.Int8WeightPerChannelFloat
A2, A = q.Int8ActPerTensorFixedPoint, q.Int8ActPerTensorFloat
U2, U = q.Uint8ActPerTensorFixedPoint, q.Uint8ActPerTensorFloat


class WPC2(W2):
    scaling_per_output_type = ScalingPerOutputType.CHANNEL


def act(bits, quant=A2, **more):
    return qnn.QuantIdentity(act_quant=quant, bit_width=bits, return_quant_tensor=True, **more)


def relu(bits, quant=U2, **more):
    return qnn.QuantReLU(act_quant=quant, bit_width=bits, return_quant_tensor=True, **more)


def sign(scale=1.0):
    return qnn.QuantIdentity(
        quant_type=QuantType.BINARY, scaling_impl_type=ScalingImplType.CONST, scaling_init=scale, min_val=-scale,
        max_val=scale, restrict_scaling_type=RestrictValueType.FP, bit_width=1)


def conv(i, o, k, bits=4, quant=W2, bias=False, **more):
    return qnn.QuantConv2d(i, o, k, bias=bias, weight_quant=quant, weight_bit_width=bits, **more)


def dense(i, o, bits=4, quant=W2, bias=False, **more):
    return qnn.QuantLinear(i, o, bias=bias, weight_quant=quant, weight_bit_width=bits, **more)


class Net(nn.Module):
    """A module of named parts and a function of them."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for key, part in parts.items():
            setattr(self, key, part)

    def forward(self, *x):
        return self.function(self, *x)


def value(x):
    return x.value if hasattr(x, "value") and not isinstance(x, torch.Tensor) else x


def randomise(net, seed):
    g = torch.Generator().manual_seed(seed)
    for m in net.modules():
        if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)):
            m.weight.data = torch.rand(m.weight.shape, generator=g) * 1.2 + 0.3
            m.weight.data[::4] *= -1
            m.bias.data = torch.randn(m.bias.shape, generator=g) * 0.4


def frames(seed, *shape, scale=1.0, count=5):
    return (np.random.default_rng(seed).normal(0, scale, (count, *shape))).astype(np.float32)


def made(build, x, *, kind="qonnx", seed=1, opset=None, fixed=None, names=("x",), outputs=("y",)):
    torch.manual_seed(seed)
    net = build()
    randomise(net, seed)
    x = x if isinstance(x, tuple) else (x,)
    if fixed:
        x = tuple(fixed_point(v, *fixed) for v in x)
    rng = np.random.default_rng(seed + 1000)
    net.train()
    with torch.no_grad():
        for _ in range(12):
            net(*[torch.tensor(rng.permutation(np.concatenate([v, v[:, ::-1]]) if v.ndim > 2 else v)) for v in x])
    net.eval()
    export = {"qonnx": export_qonnx, "qcdq": export_onnx_qcdq}[kind]
    more = {"opset_version": opset} if opset else {}
    sample = tuple(torch.tensor(v[:1]) for v in x)
    with tempfile.TemporaryDirectory() as d, torch.no_grad():
        path = f"{d}/model.onnx"
        export(net, args=sample, export_path=path, input_names=list(names), output_names=list(outputs), dynamo=False, **more)
        model = onnx.load(path)
    with torch.no_grad():
        runs = [net(*[torch.tensor(v[i : i + 1]) for v in x]) for i in range(len(x[0]))]
    runs = [[value(r) for r in (run if isinstance(run, (tuple, list)) and not hasattr(run, "scale") else [run])] for run in runs]
    want = {n: np.concatenate([r[k].detach().numpy() for r in runs]) for k, n in enumerate(outputs)}
    return Made(model, dict(zip(names, x)), want, SOURCE, fixed, in_double(net, x, outputs))



# ---- dense networks

@network("brev_mlp_w2a2", QONNX, "MLP of 2-bit weights and activations, batch normalisation with negative gammas")
def _():
    return made(lambda: nn.Sequential(act(4), dense(20, 16, 2), nn.BatchNorm1d(16), relu(2), dense(16, 12, 2),
                                      nn.BatchNorm1d(12), relu(2), dense(12, 5, 2)), frames(1, 20))


@network("brev_mlp_w1a1", QONNX, "binary weights and activations (BipolarQuant)")
def _():
    binary = lambda i, o: qnn.QuantLinear(i, o, bias=False, weight_quant=q.SignedBinaryWeightPerTensorConst)
    return made(lambda: nn.Sequential(sign(), binary(24, 16), nn.BatchNorm1d(16), sign(), binary(16, 16),
                                      nn.BatchNorm1d(16), sign(), binary(16, 4)), frames(2, 24))


@network("brev_mlp_ternary", QONNX, "ternary weights and activations, scales of 0.1")
def _():
    t = lambda i, o: qnn.QuantLinear(i, o, bias=False, weight_quant=q.SignedTernaryWeightPerTensorConst)
    a = lambda: qnn.QuantIdentity(act_quant=q.SignedTernaryActPerTensorConst)
    return made(lambda: nn.Sequential(a(), t(24, 16), nn.BatchNorm1d(16), a(), t(16, 12), nn.BatchNorm1d(12), a(),
                                      t(12, 4)), frames(3, 24, scale=0.2))


@network("brev_mlp_noinq8", QONNX, "no quantiser of the input: fixed point by the configuration")
def _():
    return made(lambda: nn.Sequential(dense(16, 12, 3), nn.BatchNorm1d(12), relu(3), dense(12, 5, 3, WPC2)),
                frames(4, 16), fixed=(8, 5))


@network("brev_mlp_qcdq_narrow", QCDQ, "8-bit activations, 4-bit narrow weights, arbitrary scales, float bias")
def _():
    return made(lambda: nn.Sequential(act(8, A), dense(18, 14, 4, W, bias=True), relu(8, U), dense(14, 10, 4, W, bias=True),
                                      relu(5, U), dense(10, 4, 8, W, bias=True)), frames(5, 18), kind="qcdq")


@network("brev_mlp_bias8", QONNX, "quantised biases of 8 bits with own scales, arbitrary scales")
def _():
    d = lambda i, o: dense(i, o, 4, W, bias=True, bias_quant=q.Int8BiasPerTensorFloatInternalScaling)
    return made(lambda: nn.Sequential(act(6, A), d(16, 12), relu(4, U), d(12, 4)), frames(6, 16))


@network("brev_mlp_bias32_qcdq", QCDQ, "biases of 32 bits at the scale of the sums, weights with a scale for each output")
def _():
    d = lambda i, o: dense(i, o, 6, WPC, bias=True, bias_quant=q.Int32Bias)
    return made(lambda: nn.Sequential(act(8, A), d(16, 12), relu(8, U), d(12, 4)), frames(7, 16), kind="qcdq")


@network("brev_mlp_dequant_zero_point", QCDQ, "asymmetric 8-bit activations (ShiftedUint8)")
def _():
    a = lambda: act(8, q.ShiftedUint8ActPerTensorFloat)
    return made(lambda: nn.Sequential(a(), dense(16, 12, 4, W, bias=True), a(), dense(12, 4, 4, W)), frames(8, 16) + 0.3,
                kind="qcdq")


@network("brev_mlp_weight_zero_point", QONNX, "asymmetric 4-bit weights (ShiftedUint8Weight)")
def _():
    d = lambda i, o: dense(i, o, 4, q.ShiftedUint8WeightPerTensorFloat)
    return made(lambda: nn.Sequential(act(4), d(16, 12), nn.BatchNorm1d(12), relu(4), d(12, 4)), frames(9, 16))


@network("brev_activations", QONNX, "QuantHardTanh, QuantSigmoid and QuantTanh between layers")
def _():
    return made(lambda: nn.Sequential(
        qnn.QuantHardTanh(bit_width=4, min_val=-1.0, max_val=1.0, return_quant_tensor=True), dense(16, 12, 4), nn.BatchNorm1d(12),
        qnn.QuantTanh(bit_width=4), dense(12, 12, 4), nn.BatchNorm1d(12), qnn.QuantSigmoid(bit_width=4), dense(12, 4, 4)),
        frames(10, 16))


@network("brev_leaky", QONNX, "LeakyReLU and PReLU in front of QuantIdentity")
def _():
    return made(lambda: nn.Sequential(act(4), dense(16, 12, 3), nn.BatchNorm1d(12), nn.LeakyReLU(0.1), act(4),
                                      dense(12, 12, 3), nn.BatchNorm1d(12), nn.PReLU(12, 0.3), act(5), dense(12, 4, 3)),
                frames(11, 16))


@network("brev_hardswish_silu", QONNX, "Hardswish and SiLU, which fall and rise, in front of a quantiser")
def _():
    return made(lambda: nn.Sequential(act(4), dense(16, 12, 3), nn.BatchNorm1d(12), nn.Hardswish(), act(4),
                                      dense(12, 12, 3), nn.BatchNorm1d(12), nn.SiLU(), act(4), dense(12, 4, 3)),
                frames(12, 16))


@network("brev_softmax_head_qcdq", QCDQ, "LogSoftmax behind the last layer, opset 17")
def _():
    return made(lambda: nn.Sequential(act(8, A2), dense(16, 12, 5), relu(4, U), dense(12, 6, 5), nn.LogSoftmax(-1)),
                frames(13, 16), kind="qcdq", opset=17)


# ---- convolutions

@network("brev_conv_pool", QONNX, "two convolutions with MaxPool, a scale for each channel, dense tail")
def _():
    return made(lambda: nn.Sequential(act(8), conv(2, 6, 3, 4, WPC2, padding=1), nn.BatchNorm2d(6), relu(3), nn.MaxPool2d(2),
                                      conv(6, 8, 3, 3, WPC2), nn.BatchNorm2d(8), relu(3), nn.Flatten(), dense(32, 5, 4)),
                frames(20, 2, 8, 8))


@network("brev_conv_pool_qcdq", QCDQ, "convolutions of 8 bits with arbitrary scales for each channel, MaxPool 3 stride 2")
def _():
    return made(lambda: nn.Sequential(act(8, A), conv(3, 6, 3, 8, WPC, bias=True), relu(8, U), nn.MaxPool2d(3, 2, 1),
                                      conv(6, 6, 2, 8, WPC, bias=True), relu(8, U), nn.Flatten(), dense(24, 4, 8, WPC, bias=True)),
                frames(21, 3, 8, 8), kind="qcdq")


@network("brev_conv_groups_strided", QONNX, "two groups, strides 2 by 1, dilation 1 by 2, rectangle of 9 by 7")
def _():
    return made(lambda: nn.Sequential(act(4), conv(4, 8, 3, 3, padding=(1, 2), stride=(2, 1), dilation=(1, 2), groups=2),
                                      nn.BatchNorm2d(8), act(3), conv(8, 4, (1, 3), 3)), frames(22, 4, 9, 7))


@network("brev_dw_separable", QONNX, "depthwise 3x3 with multiplier 2, pointwise, depthwise 5x1, ReLU6")
def _():
    return made(lambda: nn.Sequential(act(6), conv(3, 6, 3, 4, WPC2, groups=3, padding=1), nn.BatchNorm2d(6), nn.ReLU6(), act(4, U2),
                                      conv(6, 8, 1, 4, WPC2), nn.BatchNorm2d(8), relu(4),
                                      conv(8, 8, (5, 1), 4, WPC2, groups=8, padding=(2, 0)), nn.BatchNorm2d(8), relu(4),
                                      nn.AdaptiveAvgPool2d(1), nn.Flatten(), dense(8, 3, 4)), frames(23, 3, 6, 6))


@network("brev_dw_separable_qcdq", QCDQ, "depthwise and pointwise convolutions, arbitrary scales, ReLU6")
def _():
    return made(lambda: nn.Sequential(act(8, A), conv(4, 4, 3, 6, WPC, groups=4, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU6(), act(6, U),
                                      conv(4, 6, 1, 6, WPC), nn.BatchNorm2d(6), nn.ReLU6(), qnn.QuantIdentity(act_quant=U, bit_width=6)), frames(24, 4, 7, 7), kind="qcdq")


@network("brev_conv1d", QONNX, "1-D convolutions with stride and MaxPool1d")
def _():
    c = lambda i, o, k, **m: qnn.QuantConv1d(i, o, k, bias=False, weight_quant=W2, weight_bit_width=3, **m)
    return made(lambda: nn.Sequential(act(6), c(2, 6, 5, stride=2, padding=2), nn.BatchNorm1d(6), relu(3), nn.MaxPool1d(2),
                                      c(6, 8, 3, padding=1), nn.BatchNorm1d(8), relu(3), nn.AvgPool1d(2), act(4), nn.Flatten(), dense(32, 4, 3)),
                frames(25, 2, 32))


@network("brev_conv1d_causal", QONNX, "causal 1-D convolutions: ConstantPad1d on the left, dilation 2")
def _():
    c = lambda i, o, **m: qnn.QuantConv1d(i, o, 3, bias=False, weight_quant=W2, weight_bit_width=4, **m)
    return made(lambda: nn.Sequential(nn.ConstantPad1d((2, 0), 0.0), act(5), c(3, 6), nn.BatchNorm1d(6), relu(4),
                                      nn.ConstantPad1d((4, 0), 0.0), act(4, U2), c(6, 4, dilation=2)), frames(26, 3, 14))


@network("brev_trunc_pool", QONNX, "TruncAvgPool2d of 4 bits")
def _():
    return made(lambda: nn.Sequential(act(4), conv(2, 6, 3, 4), nn.BatchNorm2d(6), relu(4),
                                      qnn.TruncAvgPool2d(2, trunc_quant=q.TruncTo8bit, bit_width=4, float_to_int_impl_type="floor"),
                                      conv(6, 4, 2, 4), nn.Flatten()), frames(27, 2, 8, 8))


@network("brev_trunc_adaptive", QONNX, "TruncAdaptiveAvgPool2d, rounded, in front of the dense layer")
def _():
    return made(lambda: nn.Sequential(act(4), conv(2, 6, 3, 4), nn.BatchNorm2d(6), relu(4),
                                      qnn.TruncAdaptiveAvgPool2d(1, bit_width=6), nn.Flatten(), dense(6, 4, 4)), frames(28, 2, 6, 6))


@network("brev_avgpool_requant", QONNX, "AvgPool2d 3 stride 2, quantised behind, then a convolution")
def _():
    return made(lambda: nn.Sequential(act(4), conv(2, 6, 3, 4), nn.BatchNorm2d(6), relu(4), nn.AvgPool2d(3, 2), act(5, U2),
                                      conv(6, 4, 2, 4)), frames(29, 2, 9, 9))


@network("brev_avgpool_padded", QONNX, "AvgPool2d with padding that isn't counted")
def _():
    return made(lambda: nn.Sequential(act(4), conv(2, 4, 3, 4, padding=1), nn.BatchNorm2d(4), relu(4),
                                      nn.AvgPool2d(2, 2, padding=1, count_include_pad=False), act(5, U2), conv(4, 3, 2, 4)), frames(30, 2, 6, 6))


@network("brev_relu_avgpool_quant", QONNX, "convolution, ReLU, AvgPool2d and only then the quantiser")
def _():
    return made(lambda: nn.Sequential(act(4), conv(2, 6, 3, 4, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.AvgPool2d(2), act(4, U2),
                                      conv(6, 4, 2, 4), nn.BatchNorm2d(4), act(4), nn.Flatten(), dense(16, 3, 4)), frames(31, 2, 6, 6))


@network("brev_ae_transposed3", QONNX, "autoencoder: QuantConvTranspose2d 3x3, stride 2, padding 1, output padding 1")
def _():
    t = lambda i, o, k, **m: qnn.QuantConvTranspose2d(i, o, k, bias=False, weight_quant=W2, weight_bit_width=4, **m)
    return made(lambda: nn.Sequential(act(6), conv(1, 4, 3, 4, stride=2, padding=1), nn.BatchNorm2d(4), relu(3),
                                      t(4, 4, 3, stride=2, padding=1, output_padding=1), nn.BatchNorm2d(4), relu(3), conv(4, 1, 3, 4, padding=1)),
                frames(32, 1, 8, 8))


@network("brev_ae_transposed_qcdq", QCDQ, "QuantConvTranspose2d 2x2 stride 2 with bias, 8 bits, arbitrary scales")
def _():
    t = lambda i, o, k, **m: qnn.QuantConvTranspose2d(i, o, k, bias=True, weight_quant=W, weight_bit_width=8, **m)
    return made(lambda: nn.Sequential(act(8, A), conv(2, 4, 2, 8, W, stride=2), relu(8, U), t(4, 3, 2, stride=2), relu(8, U),
                                      t(3, 2, 4, stride=2, padding=1)), frames(33, 2, 6, 6), kind="qcdq")


@network("brev_transposed1d_groups", QONNX, "QuantConvTranspose1d of two groups, kernel 4, stride 2")
def _():
    t = lambda i, o, k, **m: qnn.QuantConvTranspose1d(i, o, k, bias=False, weight_quant=W2, weight_bit_width=3, **m)
    return made(lambda: nn.Sequential(act(4), t(4, 6, 4, stride=2, padding=1, groups=2), nn.BatchNorm1d(6), relu(3), t(6, 2, 3)), frames(34, 4, 7))


@network("brev_upsample_nearest", QONNX, "nearest enlargement by 2 between convolutions")
def _():
    return made(lambda: nn.Sequential(act(4), conv(2, 4, 3, 4, padding=1), nn.BatchNorm2d(4), relu(3), nn.Upsample(scale_factor=2, mode="nearest"),
                                      conv(4, 2, 3, 4, padding=1)), frames(35, 2, 4, 4))


@network("brev_upsample_bilinear", QONNX, "bilinear enlargement by 2, quantised behind")
def _():
    return made(lambda: nn.Sequential(act(4), conv(2, 4, 3, 4, padding=1), nn.BatchNorm2d(4), relu(3),
                                      nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False), act(5, U2), conv(4, 2, 3, 4)), frames(36, 2, 4, 4))


# ---- branches

@network("brev_res_shared", QONNX, "residual: one shared quantiser of both branches")
def _():
    def run(n, x):
        x = n.b(n.c0(n.a(x)))
        x = n.share(x)
        y = n.share(n.n1(n.c1(n.r(x))))
        return n.c2(n.r2(x + y))
    return made(lambda: Net(run, a=act(4), c0=conv(2, 6, 3, 4, padding=1), b=nn.BatchNorm2d(6), share=act(4), r=relu(4),
                            c1=conv(6, 6, 3, 4, padding=1), n1=nn.BatchNorm2d(6), r2=relu(4), c2=conv(6, 3, 1, 4)), frames(40, 2, 6, 6))


@network("brev_res_unequal", QONNX, "residual: own quantisers of arbitrary scales")
def _():
    def run(n, x):
        x = value(n.q0(n.b(n.c0(n.a(x)))))
        y = value(n.q1(n.n1(n.c1(n.r(x)))))
        return n.c2(n.r2(x + y))
    return made(lambda: Net(run, a=act(4), c0=conv(2, 6, 3, 4, padding=1), b=nn.BatchNorm2d(6), q0=act(4, A), r=relu(4, U),
                            c1=conv(6, 6, 3, 4, W, padding=1), n1=nn.BatchNorm2d(6), q1=act(4, A), r2=relu(4, U), c2=conv(6, 3, 1, 4)), frames(41, 2, 6, 6))


@network("brev_res_unequal_po2_qcdq", QCDQ, "residual: own quantisers of 6 and 4 bits, scales powers of two")
def _():
    def run(n, x):
        x = value(n.q0(n.b(n.c0(n.a(x)))))
        y = value(n.q1(n.n1(n.c1(n.r(x)))))
        return n.c2(n.r2(x + y))
    return made(lambda: Net(run, a=act(4), c0=conv(2, 6, 3, 4, padding=1), b=nn.BatchNorm2d(6), q0=act(6), r=relu(4),
                            c1=conv(6, 6, 3, 4, padding=1), n1=nn.BatchNorm2d(6), q1=act(4), r2=relu(5), c2=conv(6, 3, 1, 4)), frames(42, 2, 6, 6), kind="qcdq")


@network("brev_res_rawadd_strided", QONNX, "residual sums that aren't quantised: stride 2, 1x1 shortcut")
def _():
    def run(n, x):
        x = n.r0(n.b0(n.c0(n.a(x))))
        y = n.b2(n.c2(n.r1(n.b1(n.c1(x))))) + n.bs(n.cs(x))
        return n.d(n.pool(n.r2(y)).flatten(1))
    return made(lambda: Net(run, a=act(8), c0=conv(2, 4, 3, 4, padding=1), b0=nn.BatchNorm2d(4), r0=relu(4), c1=conv(4, 6, 3, 4, stride=2, padding=1),
                            b1=nn.BatchNorm2d(6), r1=relu(4), c2=conv(6, 6, 3, 4, padding=1), b2=nn.BatchNorm2d(6), cs=conv(4, 6, 1, 4, stride=2),
                            bs=nn.BatchNorm2d(6), r2=relu(4), pool=nn.AdaptiveAvgPool2d(1), d=dense(6, 3, 4)), frames(43, 2, 6, 6))


@network("brev_res_rawadd_maxpool", QONNX, "a shortcut and a sum that isn't quantised, MaxPool behind the quantiser")
def _():
    def run(n, x):
        x = n.a(x)
        y = value(x) + n.c(x)
        return n.d(n.p(n.r(y)).flatten(1))
    return made(lambda: Net(run, a=act(4), c=conv(3, 3, 3, 4, padding=1), r=relu(4), p=nn.MaxPool2d(2), d=dense(12, 4, 4)), frames(44, 3, 4, 4))


@network("brev_cat_shared", QONNX, "concatenation of two branches with a shared quantiser")
def _():
    def run(n, x):
        x = n.a(x)
        return n.c(torch.cat([n.share(n.c1(x)), n.share(n.c2(x))], 1))
    return made(lambda: Net(run, a=act(4), c1=conv(2, 3, 3, 4, padding=1), c2=conv(2, 4, 1, 4), share=relu(4), c=conv(7, 3, 3, 4)), frames(45, 2, 5, 5))


@network("brev_cat_own_qcdq", QCDQ, "concatenation of three branches with own arbitrary scales and bit widths")
def _():
    def run(n, x):
        x = n.a(x)
        return n.c(torch.cat([value(n.r1(n.c1(x))), value(n.r2(n.c2(x))), value(x)], 1))
    return made(lambda: Net(run, a=act(4, A), c1=conv(2, 3, 3, 4, W, padding=1), c2=conv(2, 4, 1, 4, W), r1=relu(4, U), r2=relu(3, U),
                            c=conv(9, 3, 3, 4, W)), frames(46, 2, 5, 5), kind="qcdq")


@network("brev_cat_raw", QONNX, "concatenation of two convolutions' sums, then one quantiser")
def _():
    def run(n, x):
        x = n.a(x)
        return n.c(n.r(n.b(torch.cat([n.c1(x), n.c2(x)], 1))))
    return made(lambda: Net(run, a=act(4), c1=conv(2, 3, 3, 4, padding=1), c2=conv(2, 4, 1, 4), b=nn.BatchNorm2d(7), r=relu(4), c=conv(7, 3, 3, 4)), frames(47, 2, 5, 5))


@network("brev_cat_unet", QONNX, "U-net: MaxPool, nearest enlargement, concatenation with the skip of another scale")
def _():
    def run(n, x):
        x = n.r0(n.c0(n.a(x)))
        y = n.r1(n.c1(n.p(x)))
        return n.c2(torch.cat([value(x), n.u(value(y))], 1))
    return made(lambda: Net(run, a=act(4), c0=conv(1, 4, 3, 4, padding=1), r0=relu(3), p=nn.MaxPool2d(2), c1=conv(4, 6, 3, 4, padding=1), r1=relu(4),
                            u=nn.Upsample(scale_factor=2), c2=conv(10, 2, 3, 4, padding=1)), frames(48, 1, 6, 6))


@network("brev_shuffle", QONNX, "channel shuffle between group convolutions (Reshape, Transpose, Reshape)")
def _():
    def run(n, x):
        x = value(n.r(n.c1(n.a(x))))
        x = x.reshape(1 if x.shape[0] == 1 else x.shape[0], 2, 4, 5, 5).transpose(1, 2).reshape(-1, 8, 5, 5)
        return n.c2(x)
    return made(lambda: Net(run, a=act(4), c1=conv(4, 8, 3, 4, groups=2, padding=1), r=relu(3), c2=conv(8, 4, 3, 4, groups=2)), frames(49, 4, 5, 5))


@network("brev_se", QONNX, "squeeze and excite: a product of two streams of few bits")
def _():
    def run(n, x):
        x = n.r(n.c(n.a(x)))
        s = n.s(n.d2(n.r2(n.d1(n.q1(value(x).mean((2, 3)))))))
        return n.c2(n.o(value(x) * value(s)[:, :, None, None]))
    return made(lambda: Net(run, a=act(4), c=conv(2, 6, 3, 4, padding=1), r=relu(3), q1=act(4, U2), d1=dense(6, 3, 4), r2=relu(3), d2=dense(3, 6, 4),
                            s=qnn.QuantSigmoid(bit_width=3, return_quant_tensor=True), o=relu(4), c2=conv(6, 3, 3, 4)), frames(50, 2, 5, 5))


@network("brev_sum_three", QONNX, "sum of three branches with a shared quantiser")
def _():
    def run(n, x):
        x = n.s(n.a(x))
        y, z = n.s(n.c1(x)), n.s(n.c2(x))
        return n.c3(n.r(x + y + z))
    return made(lambda: Net(run, a=act(4), s=act(4), c1=conv(3, 3, 3, 4, padding=1), c2=conv(3, 3, 1, 4), r=relu(4), c3=conv(3, 4, 2, 4)), frames(51, 3, 4, 4))


@network("brev_two_heads", QONNX, "two outputs: a class head and a map, of one trunk")
def _():
    def run(n, x):
        x = n.r(n.c(n.a(x)))
        return n.d(value(x).flatten(1)), n.m(x)
    return made(lambda: Net(run, a=act(4), c=conv(2, 4, 3, 4), r=relu(3), d=dense(64, 3, 4), m=conv(4, 2, 1, 4)), frames(52, 2, 6, 6),
                outputs=("scores", "map"))


@network("brev_two_inputs", QONNX, "two inputs with own quantisers, concatenated behind a dense layer each")
def _():
    def run(n, x, z):
        return n.d(torch.cat([value(n.r(n.d1(n.a(x)))), value(n.r(n.d2(n.b(z))))], 1))
    return made(lambda: Net(run, a=act(4), b=act(6), d1=dense(8, 6, 4), d2=dense(5, 6, 4), r=relu(4), d=dense(12, 3, 4)),
                (frames(53, 8), frames(54, 5)), names=("image", "features"))


@network("brev_mul_scalars", QONNX, "float Mul and Add by learned numbers between quantiser and convolution")
def _():
    def run(n, x):
        return n.c2(n.r(n.c1(n.a(x)) * n.m + n.k))
    def build():
        net = Net(run, a=act(4), c1=conv(2, 4, 3, 4), r=relu(3), c2=conv(4, 3, 2, 4))
        net.m = nn.Parameter(torch.tensor([0.5, -1.25, 2.0, 0.75]).reshape(1, 4, 1, 1))
        net.k = nn.Parameter(torch.tensor([0.25, -0.5, 0.1, 0.7]).reshape(4, 1, 1))
        return net
    return made(build, frames(55, 2, 6, 6))


@network("brev_weights_8_qcdq_opset20", QCDQ, "8-bit weights for each channel, asymmetric activations, opset 20")
def _():
    a = lambda: act(8, q.ShiftedUint8ActPerTensorFloat)
    return made(lambda: nn.Sequential(a(), conv(2, 5, 3, 8, WPC, bias=True, padding=1), nn.BatchNorm2d(5), nn.ReLU(), a(),
                                      conv(5, 4, 3, 8, WPC, bias=True, stride=2)), frames(56, 2, 7, 7), kind="qcdq", opset=20)
