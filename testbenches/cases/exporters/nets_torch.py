"""Plain PyTorch networks through both of its exporters; expected outputs are PyTorch's.

`both` registers a network twice: NAME_ts through torch.onnx.export(dynamo=False), NAME_dy through dynamo=True.
"""
import copy
import logging
import pathlib
import tempfile
import warnings

import numpy as np
import onnx
import torch
from torch import nn
from torch.nn import functional as F

from make import Made, fixed_point, network

warnings.filterwarnings("ignore")
logging.getLogger("torch.onnx").setLevel(logging.ERROR)
logging.getLogger("onnxscript").setLevel(logging.ERROR)
torch.set_num_threads(1)
TS, DY = "PyTorch 2.8.0 dynamo=False", "PyTorch 2.8.0 dynamo=True"


class Sign(nn.Module):
    """Signs in several ways of writing, with +1 (or 0, as torch.sign has it) at 0."""

    def __init__(self, form):
        super().__init__()
        self.form = form

    def forward(self, x):
        if self.form == "where":
            return torch.where(x >= 0, 1.0, -1.0)
        if self.form == "where_like":
            return torch.where(x < 0, -torch.ones_like(x), torch.ones_like(x))
        if self.form == "sign":
            return torch.sign(x)
        if self.form == "cast":
            return (x >= 0).float() * 2 - 1
        if self.form == "greater01":
            return (x > 0).to(x.dtype)
        if self.form == "eps":
            return torch.sign(x + 1e-6)
        if self.form == "sign_plus":
            return torch.sign(torch.sign(x) + 0.1)
        assert self.form == "heaviside"
        return torch.where(x.abs() < 0.5, torch.zeros_like(x), torch.where(x >= 0, torch.ones_like(x), -torch.ones_like(x)))


class Levels(nn.Module):
    """DoReFa: round(clip(x, 0, 1) * n) / n, or with signs, or a fixed grid."""

    def __init__(self, n, low=0.0, high=1.0, how=torch.round):
        super().__init__()
        self.n, self.low, self.high, self.how = n, low, high, how

    def forward(self, x):
        return self.how(torch.clamp(x, self.low, self.high) * self.n) / self.n


class BinaryLinear(nn.Linear):
    def forward(self, x):
        return F.linear(x, torch.sign(self.weight))


class BinaryConv(nn.Conv2d):
    def forward(self, x):
        return F.conv2d(x, torch.sign(self.weight), None, self.stride, self.padding, self.dilation, self.groups)


def grid(module, scale):
    """Weights on a grid, as a quantised training leaves them."""
    with torch.no_grad():
        module.weight.copy_(torch.clamp(torch.round(module.weight * 3 / module.weight.std() / 1.5), -3, 3) * scale)
    return module


def conv(i, o, k, scale=0.25, **more):
    return grid(nn.Conv2d(i, o, k, bias=False, **more), scale)


def dense(i, o, scale=0.25):
    return grid(nn.Linear(i, o, bias=False), scale)


class Fake(nn.Module):
    """torch.fake_quantize_per_tensor_affine, which becomes QuantizeLinear and DequantizeLinear."""

    def __init__(self, scale, zero=0, low=-128, high=127):
        super().__init__()
        self.of = scale, zero, low, high

    def forward(self, x):
        return torch.fake_quantize_per_tensor_affine(x, *self.of)


class Round(nn.Module):
    """Quantiser written out: clamp(round(x / s), low, high) * s."""

    def __init__(self, scale, low, high, how=torch.round):
        super().__init__()
        self.scale, self.low, self.high, self.how = scale, low, high, how

    def forward(self, x):
        return torch.clamp(self.how(x / self.scale), self.low, self.high) * self.scale


def u4(scale=0.25):
    return Round(scale, 0, 15)


def s4(scale=0.25):
    return Round(scale, -8, 7)


def i8(scale=0.0625):
    return Fake(scale)


class Net(nn.Module):
    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for key, part in parts.items():
            setattr(self, key, part)

    def forward(self, *x):
        return self.function(self, *x)


def frames(seed, *shape, scale=1.0, count=5):
    return np.random.default_rng(seed).normal(0, scale, (count, *shape)).astype(np.float32)


def bn(m, seed=0, spread=1.0):
    g = torch.Generator().manual_seed(seed + 77)
    n = m.weight.shape
    m.weight.data = torch.rand(n, generator=g) * 1.2 + 0.3
    m.weight.data[::3] *= -1
    m.bias.data = torch.randn(n, generator=g) * 0.3
    m.running_mean = torch.randn(n, generator=g) * spread
    m.running_var = (torch.rand(n, generator=g) + 0.5) * spread**2
    return m


def made(build, x, *, dynamo=False, seed=1, opset=None, fixed=None, names=("x",), outputs=("y",), axes=None):
    torch.manual_seed(seed)
    net = build().eval()
    x = x if isinstance(x, tuple) else (x,)
    if fixed:
        x = tuple(fixed_point(v, *fixed) for v in x)
    sample = tuple(torch.tensor(v[:1]) for v in x)
    more = {"opset_version": opset} if opset else {}
    if dynamo:
        more |= {"external_data": False, "verbose": False}
        if axes:
            more["dynamic_shapes"] = (tuple({0: torch.export.Dim("batch", min=1, max=64)} for _ in x),)
            sample = tuple(torch.tensor(v[:2]) for v in x)
    elif axes:
        more["dynamic_axes"] = {n: {0: axes} for n in (*names, *outputs)}
    with tempfile.TemporaryDirectory() as d, torch.no_grad():
        path = pathlib.Path(d) / "model.onnx"
        torch.onnx.export(net, sample, str(path), dynamo=dynamo, input_names=list(names), output_names=list(outputs), **more)
        model = onnx.load(path)
    with torch.no_grad():
        runs = [net(*[torch.tensor(v[i : i + 1]) for v in x]) for i in range(len(x[0]))]
    runs = [r if isinstance(r, tuple) else (r,) for r in runs]
    want = {n: np.concatenate([r[k].numpy() for r in runs]) for k, n in enumerate(outputs)}
    return Made(model, dict(zip(names, x)), want, "PyTorch forward", fixed, in_double(net, x, outputs))


def in_double(net, x, outputs):
    """The outputs in float64, to see whether a rounding hangs on float32's."""
    try:
        with torch.no_grad():
            net = copy.deepcopy(net).double()
            runs = [net(*[torch.tensor(v[i : i + 1]).double() for v in x]) for i in range(len(x[0]))]
    except (RuntimeError, NotImplementedError) as e:
        print("float64:", str(e)[:100])
        return None
    runs = [r if isinstance(r, tuple) else (r,) for r in runs]
    return {n: np.concatenate([getattr(r[k], "value", r[k]).numpy() for r in runs]) for k, n in enumerate(outputs)}


def both(name, description, **kept):
    def register(function):
        network(f"{name}_ts", TS, description)(lambda: function(dynamo=False))
        network(f"{name}_dy", DY, description)(lambda: function(dynamo=True))
        return function

    return register


# ---- networks of signs

def binary_mlp(form):
    return lambda: nn.Sequential(Sign(form), BinaryLinear(20, 16), bn(nn.BatchNorm1d(16), 1, 2.0), Sign(form), BinaryLinear(16, 12),
                                 bn(nn.BatchNorm1d(12), 2, 2.0), Sign(form), BinaryLinear(12, 4))


@both("pt_bnn_where_conv", "BNN, torch.where(x >= 0, 1, -1), binary convolutions, MaxPool, zero padding")
def _(**how):
    return made(lambda: nn.Sequential(Sign("where"), BinaryConv(2, 6, 3, padding=1), bn(nn.BatchNorm2d(6), 1, 2.0), nn.MaxPool2d(2), Sign("where"),
                                      BinaryConv(6, 6, 3, stride=2, padding=1), bn(nn.BatchNorm2d(6), 2, 3.0), Sign("where"), nn.Flatten(), BinaryLinear(24, 4)),
                frames(100, 2, 8, 8), **how)


@network("pt_bnn_where_like_ts", TS, "torch.where(x < 0, -ones_like, ones_like)")
def _():
    return made(binary_mlp("where_like"), frames(101, 20))


@both("pt_bnn_sign", "torch.sign of batch-normalised sums")
def _(**how):
    return made(binary_mlp("sign"), frames(102, 20), **how)


@network("pt_bnn_cast_ts", TS, "(x >= 0).float() * 2 - 1")
def _():
    return made(binary_mlp("cast"), frames(103, 20))


@network("pt_bnn_greater01_dy", DY, "activations of 0 and 1 by (x > 0).to(float)")
def _():
    return made(binary_mlp("greater01"), frames(104, 20), dynamo=True)


@network("pt_bnn_sign_plus_dy", DY, "torch.sign(torch.sign(x) + 0.1), +1 at 0")
def _():
    return made(binary_mlp("sign_plus"), frames(105, 20), dynamo=True)


@network("pt_bnn_ternary_ts", TS, "ternary activations by two torch.where and abs")
def _():
    return made(binary_mlp("heaviside"), frames(106, 20), opset=11)


@network("pt_bnn_onepad_ts", TS, "binary convolutions padded with +1 by F.pad(value=1), asymmetric")
def _():
    def run(n, x):
        x = n.s(n.n1(n.c1(n.s(F.pad(x, (1, 1, 1, 1), value=1.0)))))
        return n.c2(F.pad(x, (0, 1, 1, 0), value=1.0))
    return made(lambda: Net(run, s=Sign("where"), c1=BinaryConv(2, 6, 3), n1=bn(nn.BatchNorm2d(6), 1, 2.0), c2=BinaryConv(6, 3, 2)), frames(107, 2, 6, 6))


@network("pt_bnn_minuspad_dy", DY, "binary convolutions padded with -1, stride 2")
def _():
    def run(n, x):
        x = n.s(n.n1(n.c1(F.pad(n.s(x), (2, 0, 1, 1), value=-1.0))))
        return n.c2(F.pad(x, (1, 1, 1, 1), value=-1.0))
    return made(lambda: Net(run, s=Sign("where"), c1=BinaryConv(2, 6, 3, stride=2), n1=bn(nn.BatchNorm2d(6), 1, 2.0), c2=BinaryConv(6, 3, 3)), frames(108, 2, 7, 7),
                dynamo=True)


@network("pt_bnn_channel_scale_ts", TS, "XNOR-Net: weights of signs times their mean magnitude for each output")
def _():
    class XnorConv(nn.Conv2d):
        def forward(self, x):
            alpha = self.weight.abs().mean((1, 2, 3), keepdim=True)
            return F.conv2d(x, torch.sign(self.weight) * alpha, self.bias, self.stride, self.padding)
    return made(lambda: nn.Sequential(Sign("sign"), XnorConv(2, 6, 3), bn(nn.BatchNorm2d(6), 1, 0.3), Sign("where"), XnorConv(6, 4, 3, padding=1),
                                      bn(nn.BatchNorm2d(4), 3, 0.3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()), frames(109, 2, 6, 6), opset=13)


@network("pt_bnn_bireal_ts", TS, "Bi-Real block: batch-normalised sums plus the real shortcut, signs in front of each convolution")
def _():
    def run(n, x):
        x = n.n0(n.c0(n.s(x)))
        x = n.n1(n.c1(n.s(x))) + x
        x = n.n2(n.c2(n.s(x))) + x
        return n.d(n.s(x).flatten(1))
    return made(lambda: Net(run, s=Sign("where"), c0=BinaryConv(2, 4, 3, padding=1), n0=bn(nn.BatchNorm2d(4), 1, 2.0), c1=BinaryConv(4, 4, 3, padding=1),
                            n1=bn(nn.BatchNorm2d(4), 2, 2.0), c2=BinaryConv(4, 4, 3, padding=1), n2=bn(nn.BatchNorm2d(4), 3, 2.0), d=BinaryLinear(100, 3)), frames(110, 2, 5, 5))


@network("pt_bnn_opset9_ts", TS, "opset 9: attributes of Clip and Pad, Upsample, Sign, MaxPool")
def _():
    def run(n, x):
        x = n.p(n.n1(n.c1(F.pad(n.s(x), (1, 0, 1, 0)))))
        x = F.interpolate(n.s(F.hardtanh(x)), scale_factor=2, mode="nearest")
        return n.c2(F.pad(x, (1, 1, 1, 1)))
    return made(lambda: Net(run, s=Sign("sign"), c1=BinaryConv(2, 6, 3), n1=bn(nn.BatchNorm2d(6), 1, 2.0), p=nn.MaxPool2d(2), c2=BinaryConv(6, 3, 3, stride=2)),
                frames(111, 2, 7, 7), opset=9)


# ---- levels

@both("pt_dorefa", "DoReFa: round(clamp(x, 0, 1) * 3) / 3 between convolutions, weights of 2 bits")
def _(**how):
    def build():
        return nn.Sequential(Levels(15, -1.0, 1.0), conv(2, 6, 3), bn(nn.BatchNorm2d(6), 1), Levels(3), conv(6, 6, 3, stride=2), bn(nn.BatchNorm2d(6), 2), Levels(3),
                             nn.Flatten(), dense(24, 4))
    return made(build, frames(120, 2, 7, 7, scale=0.5), **how)


@network("pt_dorefa_weights_ts", TS, "DoReFa weights computed in the graph: tanh, maximum, rounding")
def _():
    class Dorefa(nn.Linear):
        def forward(self, x):
            w = torch.tanh(self.weight)
            w = w / (2 * w.abs().max()) + 0.5
            return F.linear(x, 2 * torch.round(w * 3) / 3 - 1)
    return made(lambda: nn.Sequential(Levels(7), Dorefa(16, 12), bn(nn.BatchNorm1d(12), 1), Levels(7), Dorefa(12, 4)), frames(121, 16, scale=0.6))


@network("pt_floor_ts", TS, "floor(clamp(x, 0, 3.99)) and floor(x + 0.5) as quantisers")
def _():
    class Floor(nn.Module):
        def forward(self, x):
            return torch.floor(torch.clamp(x, 0.0, 3.99))
    class Half(nn.Module):
        def forward(self, x):
            return torch.clamp(torch.floor(x * 4 + 0.5), -8, 7) / 4
    return made(lambda: nn.Sequential(Half(), dense(16, 12), bn(nn.BatchNorm1d(12), 1), Floor(), dense(12, 10), bn(nn.BatchNorm1d(10), 1), Half(), dense(10, 4)), frames(122, 16))


@network("pt_ceil_dy", DY, "ceil and trunc as quantisers, opset 20")
def _():
    return made(lambda: nn.Sequential(s4(), dense(16, 12), bn(nn.BatchNorm1d(12), 1), Round(0.5, -4, 3, torch.ceil), dense(12, 10), bn(nn.BatchNorm1d(10), 1),
                                      nn.ReLU(), Round(0.5, 0, 7, torch.trunc), dense(10, 4)), frames(123, 16), dynamo=True, opset=20)


def before_quantiser(*middles):
    """A network with each of these in front of a quantiser."""
    def build():
        parts = [i8(), dense(16, 12), bn(nn.BatchNorm1d(12), 0)]
        for i, (m, a) in enumerate(middles):
            parts += [m(), a, dense(12, 12), bn(nn.BatchNorm1d(12), i + 1)]
        return nn.Sequential(*parts[:-1])
    return build


@network("pt_act_leaky_ts", TS, "LeakyReLU and PReLU in front of quantisers, opset 11")
def _():
    return made(before_quantiser((lambda: nn.LeakyReLU(0.125), s4(0.125)), (lambda: nn.PReLU(12, 0.3), s4()), (lambda: nn.PReLU(init=0.1), s4(0.3))), frames(124, 16), opset=11)


@network("pt_act_sigmoid_tanh_dy", DY, "Sigmoid, Tanh, Softsign in front of quantisers")
def _():
    return made(before_quantiser((nn.Sigmoid, Round(1 / 16, 0, 15)), (nn.Tanh, s4(0.125)), (nn.Softsign, s4(0.125))), frames(125, 16), dynamo=True)


@network("pt_act_hard_ts", TS, "Hardtanh, ReLU6, Hardsigmoid in front of quantisers")
def _():
    return made(before_quantiser((nn.Hardtanh, s4(0.125)), (nn.ReLU6, u4(0.4)), (nn.Hardsigmoid, Round(0.0625, 0, 15))), frames(126, 16))


@network("pt_act_elu_ts", TS, "ELU, SELU, CELU, Softplus in front of quantisers")
def _():
    return made(before_quantiser((nn.ELU, s4()), (nn.SELU, s4()), (lambda: nn.CELU(0.5), s4(0.125)), (nn.Softplus, u4(0.125))), frames(127, 16))


@network("pt_act_not_monotone_dy", DY, "GELU, Hardswish, Mish, abs in front of quantisers")
def _():
    class Abs(nn.Module):
        def forward(self, x):
            return torch.abs(x)
    return made(before_quantiser((nn.GELU, s4()), (nn.Hardswish, s4()), (nn.Mish, s4()), (Abs, u4(0.125))), frames(128, 16), dynamo=True)


@network("pt_act_hand_ts", TS, "leaky by max(x, x / 8), by relu(x) - relu(-x) / 4; relu6 by min and max")
def _():
    class By(nn.Module):
        def __init__(self, f):
            super().__init__()
            self.f = f
        def forward(self, x):
            return self.f(x)
    six, zero = torch.tensor(6.0), torch.tensor(0.0)
    return made(before_quantiser((lambda: By(lambda x: torch.maximum(x, x * 0.125)), s4(0.125)), (lambda: By(lambda x: F.relu(x) - F.relu(-x) * 0.25), s4()),
                                 (lambda: By(lambda x: torch.minimum(torch.maximum(x, zero), six)), u4())), frames(129, 16))


# ---- quantisers of torch

@both("pt_fake_quantize", "torch.fake_quantize_per_tensor_affine with zero points, convolutions with biases")
def _(**how):
    return made(lambda: nn.Sequential(Fake(0.0625, 10), conv(2, 4, 3, 0.0625, padding=1), nn.ReLU(), Fake(0.0371, -128),
                                      nn.MaxPool2d(2), conv(4, 4, 2, 0.125), Fake(0.0625), nn.Flatten(), dense(16, 3)), frames(140, 2, 6, 6), **how)


# ---- shapes

@network("pt_split_shuffle_ts", TS, "ShuffleNet unit: chunk, one half through convolutions, concatenation, shuffle")
def _():
    def run(n, x):
        a, b = n.q(n.c0(n.a(x))).chunk(2, 1)
        x = torch.cat([a, n.q(n.c1(b))], 1)
        x = x.reshape(1, 2, 3, 5, 5).transpose(1, 2).reshape(1, 6, 5, 5)
        return n.c2(x)
    return made(lambda: Net(run, a=s4(), q=u4(), c0=conv(2, 6, 3, padding=1), c1=conv(3, 3, 3, padding=1), c2=conv(6, 3, 3)), frames(150, 2, 5, 5))


@both("pt_slice_channels", "slices of channels to two convolutions, summed")
def _(**how):
    def run(n, x):
        x = n.q(n.c0(n.a(x)))
        return n.c3(n.q(n.c1(x[:, :4]) + n.c2(x[:, 2:])))
    return made(lambda: Net(run, a=i8(), q=u4(), c0=conv(2, 6, 3, padding=1), c1=conv(4, 4, 3), c2=conv(4, 4, 3), c3=conv(4, 2, 2)), frames(151, 2, 6, 6), **how)


@network("pt_crop_dy", DY, "a crop of the input and every second pixel of the map by slices")
def _():
    def run(n, x):
        x = n.q(n.c0(n.a(x[:, :, 1:-1, 2:])))
        return n.c1(x[:, :, ::2, ::2])
    return made(lambda: Net(run, a=s4(), q=u4(), c0=conv(2, 4, 3, padding=1), c1=conv(4, 3, 2)), frames(152, 2, 8, 8), dynamo=True)


@network("pt_pixel_shuffle_ts", TS, "PixelShuffle between convolutions (DepthToSpace CRD)")
def _():
    return made(lambda: nn.Sequential(i8(), conv(2, 8, 3, padding=1), u4(), nn.PixelShuffle(2), conv(2, 2, 3), s4(), conv(2, 1, 3)), frames(153, 2, 4, 4))


@network("pt_pixel_unshuffle_dy", DY, "PixelUnshuffle of the quantised input (SpaceToDepth by Reshape and Transpose)")
def _():
    return made(lambda: nn.Sequential(i8(), nn.PixelUnshuffle(2), conv(8, 4, 3, padding=1), u4(), conv(4, 2, 1)), frames(154, 2, 6, 6), dynamo=True)


@network("pt_resize_nearest_ts", TS, "F.interpolate nearest by 3 and 2 to a size, opset 11")
def _():
    def run(n, x):
        x = n.q(n.c0(n.a(x)))
        return n.c1(F.interpolate(x, size=(9, 6), mode="nearest"))
    return made(lambda: Net(run, a=s4(), q=u4(), c0=conv(2, 4, 3, padding=1), c1=conv(4, 2, 3)), frames(155, 2, 3, 3), opset=11)


@network("pt_resize_bilinear_dy", DY, "bilinear enlargement with aligned corners in front of a quantiser")
def _():
    def run(n, x):
        x = n.q(n.c0(n.a(x)))
        return n.c1(n.q(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)))
    return made(lambda: Net(run, a=i8(), q=u4(), c0=conv(2, 4, 3, padding=1), c1=conv(4, 2, 3)), frames(156, 2, 3, 3), dynamo=True)


@network("pt_res_zero_channels_ts", TS, "ResNet-20 shortcut of type A: every second pixel, zero channels on both sides")
def _():
    def run(n, x):
        x = n.q(n.c0(n.a(x)))
        y = n.c2(n.q(n.c1(x)))
        short = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1))
        return n.c3(n.q(n.z(y) + short))
    return made(lambda: Net(run, a=i8(), q=u4(), z=s4(), c0=conv(2, 4, 3, padding=1), c1=conv(4, 6, 3, stride=2, padding=1), c2=conv(6, 6, 3, padding=1), c3=conv(6, 2, 1)),
                frames(157, 2, 6, 6))


@network("pt_res_avgpool_shortcut_dy", DY, "shortcut by AvgPool2d 1x1 stride 2 and zero channels, quantised sum")
def _():
    def run(n, x):
        x = n.q(n.c0(n.a(x)))
        y = n.z(n.c1(x))
        s = F.avg_pool2d(x, 1, 2)
        return n.c3(n.q(y + torch.cat([s, torch.zeros_like(s)], 1)))
    return made(lambda: Net(run, a=s4(), q=u4(), z=s4(), c0=conv(2, 3, 3, padding=1), c1=conv(3, 6, 3, stride=2, padding=1), c3=conv(6, 2, 1)), frames(158, 2, 6, 6), dynamo=True)


@network("pt_pad_asymmetric_ts", TS, "ZeroPad2d behind a quantiser, asymmetric, in front of a strided convolution")
def _():
    return made(lambda: nn.Sequential(s4(), nn.ZeroPad2d((0, 1, 0, 1)), conv(2, 4, 3, stride=2), bn(nn.BatchNorm2d(4), 1), u4(), nn.ZeroPad2d((2, 0, 1, 1)), conv(4, 3, 3, stride=2)),
                frames(159, 2, 8, 8))


@network("pt_pad_before_norm_quant_dy", DY, "ZeroPad2d, then batch normalisation, then the quantiser")
def _():
    return made(lambda: nn.Sequential(s4(), conv(2, 4, 3), nn.ZeroPad2d(1), bn(nn.BatchNorm2d(4), 1), u4(), conv(4, 3, 3, stride=2)), frames(160, 2, 6, 6), dynamo=True)


@network("pt_pad_crop_ts", TS, "F.pad with negative numbers: a crop behind the quantiser")
def _():
    def run(n, x):
        return n.c1(F.pad(n.q(n.c0(n.a(x))), (-1, 0, 0, -1)))
    return made(lambda: Net(run, a=i8(), q=u4(), c0=conv(2, 4, 3, padding=1), c1=conv(4, 3, 3)), frames(161, 2, 6, 6))


@network("pt_pad_reflect_ts", TS, "ReflectionPad2d in front of a convolution")
def _():
    return made(lambda: nn.Sequential(s4(), nn.ReflectionPad2d(1), conv(2, 4, 3), u4(), nn.ReplicationPad2d(1), conv(4, 3, 3)), frames(162, 2, 5, 5))


@network("pt_broadcast_add_dy", DY, "a global average, quantised, added to every pixel of the map")
def _():
    def run(n, x):
        x = n.q(n.c0(n.a(x)))
        m = n.q(x.mean((2, 3), keepdim=True))
        return n.c1(n.q(x + m))
    return made(lambda: Net(run, a=i8(), q=u4(), c0=conv(2, 4, 3, padding=1), c1=conv(4, 3, 3)), frames(163, 2, 4, 4), dynamo=True)


@network("pt_se_hardsigmoid_ts", TS, "squeeze and excite with Hardsigmoid quantised to 3 bits")
def _():
    def run(n, x):
        x = n.q(n.c0(n.a(x)))
        g = n.g(F.hardsigmoid(n.d2(n.q(n.d1(n.q(F.adaptive_avg_pool2d(x, 1)))))))
        return n.c1(n.q(x * g))
    return made(lambda: Net(run, a=i8(), q=u4(), g=Round(0.125, 0, 7), c0=conv(2, 4, 3, padding=1), d1=conv(4, 2, 1), d2=conv(2, 4, 1), c1=conv(4, 3, 3)), frames(164, 2, 5, 5))


@network("pt_mean_of_three_ts", TS, "sum of three branches, divided by 3")
def _():
    def run(n, x):
        x = n.a(x)
        b = [n.q(n.c0(x)), n.q(n.c1(x)), n.q(n.c2(x))]
        y = n.q((b[0] + b[1] + b[2]) / 3)
        return n.d(y.flatten(1))
    return made(lambda: Net(run, a=i8(), q=u4(), c0=conv(2, 3, 3), c1=conv(2, 3, 3), c2=conv(2, 3, 3), d=dense(27, 4)), frames(165, 2, 5, 5))


@network("pt_two_inputs_dy", DY, "image and vector: convolution and dense, summed before the quantiser")
def _():
    def run(n, x, z):
        return n.d2(n.q(n.q(n.d0(n.a(n.c(n.a(x))).flatten(1))) + n.q(n.d1(n.a(z)))))
    return made(lambda: Net(run, a=i8(), q=u4(), c=conv(1, 3, 3), d0=dense(27, 8), d1=dense(6, 8), d2=dense(8, 3)), (frames(166, 1, 5, 5), frames(167, 6)),
                names=("image", "vector"), dynamo=True)


@network("pt_two_heads_ts", TS, "class scores and a regression in two outputs")
def _():
    def run(n, x):
        x = n.q(n.d0(n.a(x)))
        return n.d1(x), n.d2(n.q(n.d3(x)))
    return made(lambda: Net(run, a=i8(), q=u4(), d0=dense(16, 12), d1=dense(12, 5), d2=dense(6, 2), d3=dense(12, 6)), frames(168, 16), outputs=("scores", "box"))


@both("pt_batch_symbolic", "symbolic batch, Flatten by x.view(x.size(0), -1), global average")
def _(**how):
    def run(n, x):
        x = n.q(n.c0(n.a(x)))
        x = n.q(n.c1(x))
        x = F.adaptive_avg_pool2d(x, (2, 2))
        return n.d(n.q(x).view(x.size(0), -1))
    return made(lambda: Net(run, a=s4(), q=u4(), c0=conv(2, 4, 3, padding=1), c1=conv(4, 4, 3), d=dense(16, 3)), frames(169, 2, 6, 6), axes="batch", **how)


@network("pt_conv1d_ts", TS, "1-D convolutions, grouped and dilated, MaxPool1d")
def _():
    c = lambda i, o, k, **m: grid(nn.Conv1d(i, o, k, bias=False, **m), 0.25)
    return made(lambda: nn.Sequential(i8(), c(2, 4, 5, padding=2), bn(nn.BatchNorm1d(4), 1), u4(), nn.MaxPool1d(3, 2, 1), c(4, 4, 3, groups=2, dilation=2), u4(), nn.Flatten(), dense(16, 3)),
                frames(170, 2, 16), opset=12)


@network("pt_transposed_dy", DY, "ConvTranspose2d 3x3 stride 2 with output padding, groups 2")
def _():
    return made(lambda: nn.Sequential(i8(), conv(2, 4, 3, stride=2, padding=1), u4(), grid(nn.ConvTranspose2d(4, 4, 3, 2, 1, 1, groups=2, bias=False), 0.25), u4(), conv(4, 1, 1)),
                frames(171, 2, 6, 6), dynamo=True)


# ---- tails

def tail(function, at, **how):
    return made(lambda: Net(lambda n, x: function(n.d1(n.q(n.d0(n.a(x))))), a=i8(), q=u4(), d0=dense(12, 10), d1=dense(10, 5)),
                frames(at, 12, scale=1.5, count=8), **how)


@network("pt_tail_logsoftmax_dy", DY, "LogSoftmax behind the last layer")
def _():
    return tail(lambda x: F.log_softmax(x / 4, -1), 180, dynamo=True)


@network("pt_tail_exp_ts", TS, "Exp of the clamped outputs, opset 15")
def _():
    return tail(lambda x: torch.exp(torch.clamp(x, -4, 4)), 181, opset=15)


@network("pt_tail_tanh_ts", TS, "Tanh times a number behind the last layer")
def _():
    return tail(lambda x: torch.tanh(x / 8) * 2.5, 182)


@network("pt_tail_max_ts", TS, "ReduceMax over the outputs (maximum score)")
def _():
    return tail(lambda x: torch.amax(x, -1, keepdim=True), 183)


@network("pt_tail_argmax_dy", DY, "ArgMax over the outputs")
def _():
    return tail(lambda x: torch.argmax(x, -1, keepdim=True).to(torch.float32) + 0.0, 190, dynamo=True, seed=8)


@network("pt_tail_abs_leaky_ts", TS, "abs, leaky and clip of float outputs behind a convolution")
def _():
    return made(lambda: Net(lambda n, x: F.leaky_relu(torch.abs(n.c(n.a(x))) - 1.5, 0.1), a=s4(), c=conv(2, 3, 3)), frames(185, 2, 5, 5))


@network("pt_tail_normalise_dy", DY, "outputs divided by their Euclidean length")
def _():
    return tail(lambda x: F.normalize(x, dim=-1), 186, dynamo=True)


@network("pt_reduce_sum_ts", TS, "sum over the map in place of an average, then a dense layer")
def _():
    return made(lambda: Net(lambda n, x: n.d(n.z(n.q(n.c(n.a(x))).sum((2, 3)))), a=s4(), q=u4(), z=Round(1.0, 0, 31), c=conv(2, 5, 3), d=dense(5, 3)), frames(187, 2, 5, 5))


@network("pt_minpool_ts", TS, "minimum over windows as -MaxPool2d(-x)")
def _():
    return made(lambda: Net(lambda n, x: n.c1(-F.max_pool2d(-n.q(n.c(n.a(x))), 2)), a=i8(), q=u4(), c=conv(2, 4, 3, padding=1), c1=conv(4, 2, 2)), frames(188, 2, 6, 6))


@network("pt_hardtanh_float_input_ts", TS, "real input by the configuration, weights of 1 bit, Hardtanh and sign")
def _():
    return made(lambda: nn.Sequential(BinaryLinear(16, 12), bn(nn.BatchNorm1d(12), 1, 2.0), nn.Hardtanh(), Sign("where"), BinaryLinear(12, 4)), frames(189, 16), fixed=(8, 4))
