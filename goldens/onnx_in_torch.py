"""A small ONNX interpreter in PyTorch, differentiable with autograd.

It is the independent reference for the gradients of the Rust code: it shares neither code nor shape inference nor graph
rewrites with it. Each operator follows the ONNX operator specification of the model's opset, so the derivative is
PyTorch's own.

Every floating-point tensor of the model, including half-precision weights, is converted to one working precision
(float64 by default). Shape arithmetic runs on int64 tensors like any other value.
"""

import functools
import itertools
import math
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper

FLOAT_TYPES = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}

OPS = {}

# Operators that add products, and others that round. The remaining ones are exact, or return equal results for equal
# inputs, as each sum and product of two numbers does.
PRODUCTS = {"Conv", "Gemm", "MatMul"}
ROUNDING = {
    "AveragePool", "Erf", "Exp", "GlobalAveragePool", "LayerNormalization", "Log", "LogSoftmax", "Pow", "ReduceMean",
    "ReduceSum", "Sigmoid", "Softmax", "Softplus", "Sqrt", "Tanh",
}  # fmt: skip


def op(*names):
    """Registers `f(ctx, *inputs, **attributes)` as the implementation of the named operators.

    A missing optional input is passed as None.
    """

    def register(f):
        OPS.update(dict.fromkeys(names, f))
        return f

    return register


class Model:
    """An ONNX model with one picture input, ready to run on torch tensors.

    `weights` maps the name of each floating-point initializer to its tensor; set `requires_grad` on one of them to get
    its gradient. `input_shape` holds an int, or None where the size is free.

    `rounding` simulates the rounding of an engine. Each result of an operator that rounds gets normal noise from
    `generator`, of this size relative to the result or to the root of the sum of its squared products.
    """

    rounding = 0.0
    generator = None

    def __init__(self, path, dtype=torch.float64):
        self.dtype = dtype
        model = onnx.load(Path(path))
        self.graph = model.graph
        if unknown := sorted({n.op_type for n in self.graph.node if n.op_type not in OPS}):
            raise NotImplementedError(f"{path}: no implementation of {', '.join(unknown)}")
        self.opset = max(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
        self.initializers = {t.name: self.tensor(t) for t in self.graph.initializer}
        self.weights = {k: v for k, v in self.initializers.items() if v.is_floating_point()}
        (picture,) = [i for i in self.graph.input if i.name not in self.initializers]
        self.input = picture.name
        dims = picture.type.tensor_type.shape.dim
        self.input_shape = [d.dim_value if d.HasField("dim_value") else None for d in dims]
        self.output = self.graph.output[0].name

    def tensor(self, proto):
        """Returns the torch tensor of a TensorProto, in the working precision if it is floating point."""
        value = torch.from_numpy(np.array(numpy_helper.to_array(proto)))
        return value.to(self.dtype) if value.is_floating_point() else value

    def __call__(self, x, output=None):
        """Returns the value `output` (default: the first graph output) for the batch `x`.

        A model with a fixed batch size runs over `x` in pieces of that size.
        """
        batch = self.input_shape[0] if self.input_shape else None
        if batch is None or batch == len(x):
            return self.run(x, output or self.output)
        return torch.cat([self.run(piece, output or self.output) for piece in x.split(batch)])

    def run(self, x, output):
        """Evaluates the graph node by node, as far as `output` needs it."""
        values = {"": None, **self.initializers, self.input: x.to(self.dtype)}
        for node in self.graph.node:
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            results = OPS[node.op_type](self, *[values[i] for i in node.input], **attributes)
            results = results if isinstance(results, (tuple, list)) else (results,)
            if self.rounding:
                inputs = [values[i] for i in node.input]
                results = [self.rounded(node.op_type, value, inputs, attributes) for value in results]
            values.update(zip(node.output, results))
            if output in node.output:
                break
        return values[output]

    def rounded(self, op_type, value, inputs, attributes):
        """Adds the noise of the operator; exact values stay unchanged."""
        if not value.is_floating_point():
            return value
        with torch.no_grad():
            if op_type in PRODUCTS:
                # Without the bias: a sum that adds only zeros is exact.
                squares = [factor.detach().square() for factor in inputs[:2]]
                scale = OPS[op_type](self, *squares, **attributes).sqrt()
            elif op_type in ROUNDING:
                scale = value.abs()
            else:
                return value
            noise = self.rounding * scale * torch.randn(value.shape, generator=self.generator, dtype=value.dtype)
        return value + noise


def ints(tensor):
    """Returns the elements of an integer tensor as a list of Python ints."""
    return [int(v) for v in tensor.reshape(-1)]


# ---- elementwise ------------------------------------------------------------------------------------

ELEMENTWISE = {
    "Abs": torch.abs, "Add": torch.add, "And": torch.logical_and, "Ceil": torch.ceil, "Cos": torch.cos,
    "Equal": torch.eq, "Erf": torch.erf, "Exp": torch.exp, "Floor": torch.floor, "Greater": torch.gt,
    "GreaterOrEqual": torch.ge, "Less": torch.lt, "LessOrEqual": torch.le, "Log": torch.log,
    "MatMul": torch.matmul, "Mul": torch.mul, "Neg": torch.neg, "Not": torch.logical_not,
    "Or": torch.logical_or, "Reciprocal": torch.reciprocal, "Relu": torch.relu,
    "Sigmoid": torch.sigmoid, "Sin": torch.sin, "Softplus": F.softplus, "Sqrt": torch.sqrt,
    "Sub": torch.sub, "Tanh": torch.tanh, "Where": torch.where,
}  # fmt: skip
OPS.update({name: (lambda f: lambda ctx, *a: f(*a))(f) for name, f in ELEMENTWISE.items()})


@op("Div")
def div(ctx, a, b):
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


@op("Pow")
def power(ctx, a, b):
    return torch.pow(a, b.to(a.dtype))


@op("Mod")
def mod(ctx, a, b, fmod=0):
    # Without fmod the result has the sign of the divisor.
    return torch.fmod(a, b) if fmod else torch.remainder(a, b)


@op("Max")
def maximum(ctx, *xs):
    return functools.reduce(torch.maximum, xs)


@op("Min")
def minimum(ctx, *xs):
    return functools.reduce(torch.minimum, xs)


@op("Clip")
def clip(ctx, x, low=None, high=None, min=None, max=None):
    # Before opset 11 the bounds are the attributes min and max, afterwards inputs.
    low = min if low is None else low.item()
    high = max if high is None else high.item()
    return x if low is None and high is None else torch.clamp(x, low, high)


@op("LeakyRelu")
def leaky_relu(ctx, x, alpha=0.01):
    return F.leaky_relu(x, alpha)


@op("HardSigmoid")
def hard_sigmoid(ctx, x, alpha=0.2, beta=0.5):
    return torch.clamp(alpha * x + beta, 0, 1)


@op("HardSwish")
def hard_swish(ctx, x):
    return x * torch.clamp(x / 6 + 0.5, 0, 1)


@op("Gelu")
def gelu(ctx, x, approximate=b"none"):
    return F.gelu(x, approximate=approximate.decode())


@op("Cast")
def cast(ctx, x, to, saturate=1):
    if to in FLOAT_TYPES:
        return x.to(ctx.dtype)
    return x.to(torch.from_numpy(np.zeros(0, helper.tensor_dtype_to_np_dtype(to))).dtype)


@op("CastLike")
def cast_like(ctx, x, like, saturate=1):
    return x.to(like.dtype)


@op("Identity", "Dropout")
def identity(ctx, x, *unused, **attributes):
    return x


# ---- convolution and pooling ------------------------------------------------------------------------


def window(size, kernel, strides, dilations, pads, auto_pad, ceil_mode=0):
    """Returns the padding per axis as (begin, end, extra) of a sliding window over `size`.

    `extra` is the number of cells past the end padding that a rounded-up output size adds.
    """
    pads = pads or [0] * (2 * len(size))
    result = []
    for i, n in enumerate(size):
        extent = dilations[i] * (kernel[i] - 1) + 1
        begin, end, extra = pads[i], pads[i + len(size)], 0
        if auto_pad in (b"SAME_UPPER", b"SAME_LOWER"):
            total = max((math.ceil(n / strides[i]) - 1) * strides[i] + extent - n, 0)
            small, large = total // 2, total - total // 2
            begin, end = (small, large) if auto_pad == b"SAME_UPPER" else (large, small)
        elif auto_pad == b"VALID":
            begin = end = 0
        if ceil_mode:
            steps = math.ceil((n + begin + end - extent) / strides[i])
            # A window that would start in the end padding is dropped.
            steps -= steps * strides[i] >= n + begin
            extra = max(steps * strides[i] + extent - n - begin - end, 0)
        result.append((begin, end, extra))
    return result


def pad_window(x, pads, value, inside=None):
    """Pads the spatial axes; `inside` replaces the value of the ordinary padding."""
    flat = lambda pairs: [p for pair in reversed(pairs) for p in pair]
    x = F.pad(x, flat([(b, e) for b, e, _ in pads]), value=value if inside is None else inside)
    return F.pad(x, flat([(0, extra) for _, _, extra in pads]), value=value)


@op("Conv")
def conv(ctx, x, w, b=None, strides=None, pads=None, dilations=None, group=1, auto_pad=b"NOTSET", kernel_shape=None):
    rank = x.ndim - 2
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    padding = window(x.shape[2:], w.shape[2:], strides, dilations, pads, auto_pad)
    f = [F.conv1d, F.conv2d, F.conv3d][rank - 1]
    return f(pad_window(x, padding, 0.0), w, b, tuple(strides), 0, tuple(dilations), group)


@op("MaxPool")
def max_pool(
    ctx, x, kernel_shape, strides=None, pads=None,
    dilations=None, auto_pad=b"NOTSET", ceil_mode=0, storage_order=0,
):
    rank = x.ndim - 2
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    padding = window(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    f = [F.max_pool1d, F.max_pool2d, F.max_pool3d][rank - 1]
    return f(pad_window(x, padding, -math.inf), kernel_shape, strides, 0, dilations)


@op("AveragePool")
def average_pool(
    ctx, x, kernel_shape, strides=None, pads=None,
    dilations=None, auto_pad=b"NOTSET", ceil_mode=0, count_include_pad=0,
):
    rank = x.ndim - 2
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    if any(d != 1 for d in dilations):
        raise NotImplementedError("AveragePool with dilations")
    padding = window(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    f = [F.avg_pool1d, F.avg_pool2d, F.avg_pool3d][rank - 1]
    # The mean over the whole window, divided by the share of the window that counts.
    total = f(pad_window(x, padding, 0.0), kernel_shape, strides)
    ones = torch.ones_like(x[:1, :1]).detach()
    return total / f(pad_window(ones, padding, 0.0, inside=float(count_include_pad)), kernel_shape, strides)


@op("GlobalAveragePool")
def global_average_pool(ctx, x):
    return x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)


# ---- dense layers, normalisation, reductions --------------------------------------------------------


@op("Gemm")
def gemm(ctx, a, b, c=None, alpha=1.0, beta=1.0, transA=0, transB=0):
    y = alpha * ((a.T if transA else a) @ (b.T if transB else b))
    return y if c is None else y + beta * c


@op("BatchNormalization")
def batch_norm(ctx, x, scale, bias, mean, var, epsilon=1e-5, momentum=0.9, spatial=1, training_mode=0):
    if training_mode or not spatial:
        raise NotImplementedError("BatchNormalization other than per channel at inference")
    per_channel = lambda v: v.reshape([-1] + [1] * (x.ndim - 2))
    return (x - per_channel(mean)) / per_channel(torch.sqrt(var + epsilon)) * per_channel(scale) + per_channel(bias)


@op("LayerNormalization")
def layer_norm(ctx, x, scale, bias=None, axis=-1, epsilon=1e-5, stash_type=1):
    axes = tuple(range(axis % x.ndim, x.ndim))
    y = (x - x.mean(axes, keepdim=True)) / torch.sqrt(x.var(axes, correction=0, keepdim=True) + epsilon)
    return y * scale if bias is None else y * scale + bias


def softmax(f):
    def run(ctx, x, axis=None):
        if ctx.opset >= 13:
            return f(x, -1 if axis is None else axis)
        # Before opset 13, all axes from `axis` (default 1) on are flattened into one.
        axis = 1 if axis is None else axis % x.ndim
        return f(x.reshape(math.prod(x.shape[:axis]), -1), 1).reshape(x.shape)

    return run


OPS.update(Softmax=softmax(torch.softmax), LogSoftmax=softmax(torch.log_softmax))


def reduction(f):
    def run(ctx, x, axes=None, keepdims=1, noop_with_empty_axes=0):
        # The axes are an attribute or, from opset 18 (ReduceSum: 13) on, an input.
        axes = ints(axes) if isinstance(axes, torch.Tensor) else axes
        if not axes and noop_with_empty_axes:
            return x
        return f(x, tuple(axes or range(x.ndim)), bool(keepdims))

    return run


OPS.update(ReduceMean=reduction(torch.mean), ReduceSum=reduction(torch.sum), ReduceMax=reduction(torch.amax))


# ---- shapes and indices -----------------------------------------------------------------------------


@op("Constant")
def constant(ctx, value=None, value_float=None, value_floats=None, value_int=None, value_ints=None):
    if value is not None:
        return ctx.tensor(value)
    integer = value_int if value_int is not None else value_ints
    if integer is not None:
        return torch.tensor(integer, dtype=torch.int64)
    return torch.tensor(value_float if value_float is not None else value_floats, dtype=ctx.dtype)


@op("ConstantOfShape")
def constant_of_shape(ctx, shape, value=None):
    fill = torch.zeros(1, dtype=ctx.dtype) if value is None else ctx.tensor(value)
    return fill.reshape(()).expand(ints(shape)).clone()


@op("Shape")
def shape_of(ctx, x, start=0, end=None):
    return torch.tensor(list(x.shape[start:end]), dtype=torch.int64)


@op("Range")
def arange(ctx, start, limit, delta):
    return torch.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype)


@op("Reshape")
def reshape(ctx, x, shape, allowzero=0):
    sizes = ints(shape)
    return x.reshape([x.shape[i] if n == 0 and not allowzero else n for i, n in enumerate(sizes)])


@op("Flatten")
def flatten(ctx, x, axis=1):
    return x.reshape(math.prod(x.shape[:axis]), -1)


@op("Transpose")
def transpose(ctx, x, perm=None):
    return x.permute(perm or list(reversed(range(x.ndim))))


@op("Expand")
def expand(ctx, x, shape):
    return x.expand(torch.broadcast_shapes(x.shape, ints(shape)))


@op("Concat")
def concat(ctx, *xs, axis):
    return torch.cat(xs, axis)


@op("Split")
def split(ctx, x, sizes=None, axis=0, split=None, num_outputs=None):
    sizes = ints(sizes) if sizes is not None else split
    if sizes is None and num_outputs is None:
        raise NotImplementedError("Split into equal parts before opset 18")
    return x.split(sizes or math.ceil(x.shape[axis] / num_outputs), axis)


@op("Unsqueeze")
def unsqueeze(ctx, x, axes):
    axes = ints(axes) if isinstance(axes, torch.Tensor) else axes
    rank = x.ndim + len(axes)
    for axis in sorted(a % rank for a in axes):
        x = x.unsqueeze(axis)
    return x


@op("Squeeze")
def squeeze(ctx, x, axes=None):
    axes = ints(axes) if isinstance(axes, torch.Tensor) else axes
    return x.squeeze() if axes is None else x.squeeze(tuple(axes))


@op("Slice")
def slice_(ctx, x, starts, ends, axes=None, steps=None):
    # Before opset 10 the bounds are attributes, afterwards inputs.
    starts, ends, axes, steps = [ints(v) if isinstance(v, torch.Tensor) else v for v in (starts, ends, axes, steps)]
    axes, steps = axes or range(len(starts)), steps or itertools.repeat(1)
    for start, end, axis, step in zip(starts, ends, axes, steps):
        kept = range(*slice(start, end, step).indices(x.shape[axis]))
        x = x.index_select(axis, torch.tensor(list(kept), dtype=torch.int64))
    return x


@op("Gather")
def gather(ctx, x, indices, axis=0):
    axis %= x.ndim
    flat = indices.reshape(-1).to(torch.int64)
    y = x.index_select(axis, torch.where(flat < 0, flat + x.shape[axis], flat))
    return y.reshape(x.shape[:axis] + indices.shape + x.shape[axis + 1 :])


@op("Pad")
def pad(ctx, x, amounts=None, fill=None, axes=None, mode=b"constant", pads=None, value=0.0):
    # Before opset 11 the amounts are the attribute pads and the fill the attribute value.
    if mode != b"constant":
        raise NotImplementedError(f"Pad with mode {mode.decode()}")
    amounts = pads if amounts is None else ints(amounts)
    fill = value if fill is None else fill.item()
    axes = range(x.ndim) if axes is None else [a % x.ndim for a in ints(axes)]
    pairs = [(0, 0)] * x.ndim
    for i, axis in enumerate(axes):
        pairs[axis] = (amounts[i], amounts[i + len(axes)])
    return F.pad(x, [n for pair in reversed(pairs) for n in pair], value=fill)
