//! Convolutions, pooling and matrix products.

use crate::{
    Result,
    dim::Dim,
    import::{Importer, call::Call, ops::norm::p_norm},
    node::ValueId,
    op::{Convolution, Op, PadMode, Pool},
    rules::pool::merge_channels,
};

/// The common attributes of convolutions and pooling, with `auto_pad` still unresolved.
struct Window {
    kernel: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    pads_before: Vec<usize>,
    pads_after: Vec<usize>,
    auto_pad: AutoPad,
}

#[derive(Clone, Copy, PartialEq)]
enum AutoPad {
    No,
    Upper,
    Lower,
}

impl Window {
    fn new(call: &Call, kernel: Vec<usize>) -> Result<Self> {
        let spatial = kernel.len();
        let auto_pad = match call.string("auto_pad", "NOTSET")? {
            "NOTSET" | "" | "VALID" => AutoPad::No,
            "SAME_UPPER" => AutoPad::Upper,
            "SAME_LOWER" => AutoPad::Lower,
            other => return Err(call.invalid(format!("has the unknown auto_pad {other:?}"))),
        };
        let pads = match call.string("auto_pad", "NOTSET")? {
            "NOTSET" | "" => call.sizes("pads", 2 * spatial, 0)?,
            _ => vec![0; 2 * spatial],
        };
        let strides = call.sizes("strides", spatial, 1)?;
        let dilations = call.sizes("dilations", spatial, 1)?;
        if kernel.contains(&0) || strides.contains(&0) || dilations.contains(&0) {
            return Err(call.invalid("has a kernel side, stride or dilation of 0"));
        }
        let (pads_before, pads_after) = pads.split_at(spatial);
        Ok(Self {
            kernel,
            strides,
            dilations,
            pads_before: pads_before.to_vec(),
            pads_after: pads_after.to_vec(),
            auto_pad,
        })
    }

    /// Returns the number of elements that the window spans along an axis.
    fn reach(&self, axis: usize) -> usize {
        (self.kernel[axis] - 1) * self.dilations[axis] + 1
    }

    /// Sets the pads of an axis to `total`; `auto_pad` decides which side gets the odd one.
    fn pad(&mut self, axis: usize, total: usize) {
        let (less, more) = (total / 2, total - total / 2);
        (self.pads_before[axis], self.pads_after[axis]) = match self.auto_pad {
            AutoPad::Lower => (more, less),
            AutoPad::No | AutoPad::Upper => (less, more),
        };
    }

    /// Resolves `auto_pad` such that there are `ceil(side / stride)` windows.
    fn pad_to_same(&mut self, sides: &[usize]) {
        if self.auto_pad == AutoPad::No {
            return;
        }
        for (axis, &side) in sides.iter().enumerate() {
            let stride = self.strides[axis];
            let windows = side.div_ceil(stride).max(1);
            let spanned = (windows - 1) * stride + self.reach(axis);
            self.pad(axis, spanned.saturating_sub(side));
        }
    }

    fn into_convolution(self, groups: usize) -> Convolution {
        Convolution {
            strides: self.strides,
            pads_before: self.pads_before,
            pads_after: self.pads_after,
            dilations: self.dilations,
            groups,
        }
    }
}

/// Returns the sides of the spatial axes of `[N, C, ...]`.
fn spatial_sides(importer: &Importer, call: &Call, x: ValueId) -> Result<Vec<usize>> {
    (2..importer.rank(x))
        .map(|axis| importer.side(call, x, axis))
        .collect()
}

/// Returns the window of a convolution; the kernel is taken from the weight.
fn convolution_window(importer: &Importer, call: &Call, weight: ValueId) -> Result<Window> {
    let kernel = spatial_sides(importer, call, weight)?;
    if kernel.is_empty() {
        return Err(call.invalid("has a weight of rank below 3"));
    }
    if call.has("kernel_shape") && call.sizes("kernel_shape", kernel.len(), 0)? != kernel {
        return Err(call.invalid(format!(
            "has a kernel_shape that differs from its weight's, {kernel:?}"
        )));
    }
    Window::new(call, kernel)
}

fn groups(call: &Call) -> Result<usize> {
    call.size("group", call.int("group", 1)?)
}

pub(super) fn conv(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let mut inputs = vec![call.input(0)?, call.input(1)?];
    inputs.extend(call.optional(2)?);
    convolution(importer, call, &inputs)
}

/// Convolves these values, which are the input, the weight and optionally the bias, with a node's attributes.
pub(super) fn convolution(
    importer: &mut Importer,
    call: &Call,
    inputs: &[ValueId],
) -> Result<ValueId> {
    let mut window = convolution_window(importer, call, inputs[1])?;
    let sides = spatial_sides(importer, call, inputs[0])?;
    if sides.len() != window.kernel.len() {
        return Err(call.invalid("has an input and a weight of different ranks"));
    }
    window.pad_to_same(&sides);
    let op = Op::Conv(window.into_convolution(groups(call)?));
    importer.add(call, op, inputs)
}

pub(super) fn conv_transpose(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let mut inputs = vec![call.input(0)?, call.input(1)?];
    inputs.extend(call.optional(2)?);
    let mut window = convolution_window(importer, call, inputs[1])?;
    let sides = spatial_sides(importer, call, inputs[0])?;
    let spatial = window.kernel.len();
    if sides.len() != spatial {
        return Err(call.invalid("has an input and a weight of different ranks"));
    }
    let mut output_padding = call.sizes("output_padding", spatial, 0)?;
    let targets = match (call.has("output_shape"), window.auto_pad) {
        (false, AutoPad::No) => None,
        (true, _) => Some(call.sizes("output_shape", spatial, 0)?),
        (false, _) => Some(
            (0..spatial)
                .map(|axis| sides[axis] * window.strides[axis])
                .collect(),
        ),
    };
    for (axis, target) in targets.into_iter().flatten().enumerate() {
        let full = sides[axis].saturating_sub(1) * window.strides[axis]
            + window.reach(axis)
            + output_padding[axis];
        output_padding[axis] += target.saturating_sub(full);
        window.pad(axis, full.saturating_sub(target));
    }
    let op = Op::ConvTranspose {
        convolution: window.into_convolution(groups(call)?),
        output_padding,
    };
    importer.add(call, op, &inputs)
}

/// Pools the input of a node. `ceil_mode` adds a window that starts inside the input or the padding before it, never in
/// the padding behind it (PyTorch's rule, and ONNX's since operator set 22).
pub(super) fn pool(importer: &Importer, call: &Call, x: ValueId) -> Result<Pool> {
    let sides = spatial_sides(importer, call, x)?;
    if !call.has("kernel_shape") || sides.is_empty() {
        return Err(call.invalid("has no kernel_shape or no spatial axes"));
    }
    let mut window = Window::new(call, call.sizes("kernel_shape", sides.len(), 0)?)?;
    window.pad_to_same(&sides);
    let mut ceil_extra = vec![0; sides.len()];
    if call.flag("ceil_mode", false)? {
        for (axis, &side) in sides.iter().enumerate() {
            let (stride, before) = (window.strides[axis], window.pads_before[axis]);
            let padded = before + side + window.pads_after[axis];
            let Some(room) = padded.checked_sub(window.reach(axis)) else {
                continue;
            };
            let mut last = room.div_ceil(stride) * stride;
            if last >= before + side {
                last -= stride;
                // Padding behind the last window would make room for the refused one.
                let behind = room.saturating_sub(last);
                window.pads_after[axis] = window.pads_after[axis].saturating_sub(behind);
            }
            let padded = before + side + window.pads_after[axis];
            ceil_extra[axis] = (last + window.reach(axis)).saturating_sub(padded);
            window.pads_after[axis] += ceil_extra[axis];
        }
    }
    Ok(Pool {
        kernel: window.kernel,
        strides: window.strides,
        pads_before: window.pads_before,
        pads_after: window.pads_after,
        dilations: window.dilations,
        ceil_extra,
    })
}

pub(super) fn max_pool(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let x = call.input(0)?;
    let pool = pool(importer, call, x)?;
    importer.add(call, Op::MaxPool(pool), &[x])
}

pub(super) fn average_pool(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let x = call.input(0)?;
    let op = Op::AveragePool {
        pool: pool(importer, call, x)?,
        count_include_pad: call.flag("count_include_pad", false)?,
    };
    importer.add(call, op, &[x])
}

/// The p-norm of each window; padding is 0 and does not contribute.
pub(super) fn lp_pool(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let x = call.input(0)?;
    let padded = pool(importer, call, x)?;
    let p = call.int("p", 2)?;
    let area: usize = padded.kernel.iter().product();
    importer.formula(call, &[x], |v| {
        let whole = |pads: &[usize]| [&[0, 0], pads].concat();
        let pad = Op::Pad {
            mode: PadMode::Constant(0.0),
            before: whole(&padded.pads_before),
            after: whole(&padded.pads_after),
        };
        let none = vec![0; padded.kernel.len()];
        let mean = Op::AveragePool {
            pool: Pool {
                pads_before: none.clone(),
                pads_after: none.clone(),
                ceil_extra: none,
                ..padded
            },
            count_include_pad: false,
        };
        p_norm(call, v[0].apply(pad), p, |powers| {
            Ok(powers.apply(mean) * area as f32)
        })
    })
}

/// Puts columns of windows back in place and adds them where they overlap: a transposed convolution with kernels of one
/// element.
pub(super) fn col2im(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    const LARGEST: usize = 1 << 10;
    let x = call.input(0)?;
    let sizes = |at: usize, name: &str| -> Result<Vec<usize>> {
        let list = importer.integers(call, at)?;
        let list = list.ok_or_else(|| call.invalid(format!("{name} is missing")))?;
        list.iter().map(|&side| call.size(name, side)).collect()
    };
    let (image, kernel) = (sizes(1, "image_shape")?, sizes(2, "block_shape")?);
    let area = kernel
        .iter()
        .try_fold(1_usize, |area, &side| area.checked_mul(side));
    let area = area.filter(|area| (1..=LARGEST).contains(area));
    let area = area.ok_or_else(|| call.unsupported(format!("has blocks of {kernel:?}")))?;
    if kernel.is_empty() || image.len() != kernel.len() || importer.rank(x) != 3 {
        return Err(call.invalid("needs columns [N, C * block, L] and one side for each axis"));
    }
    let columns = importer.side(call, x, 1)?;
    if columns % area != 0 {
        return Err(call.invalid(format!("has {columns} columns for blocks of {area}")));
    }
    let window = Window::new(call, kernel)?;
    let mut blocks = Vec::new();
    let mut output_padding = Vec::new();
    for (axis, &side) in image.iter().enumerate() {
        let padded = side + window.pads_before[axis] + window.pads_after[axis];
        let room = padded.checked_sub(window.reach(axis));
        let room = room.ok_or_else(|| call.invalid("has a block larger than its picture"))?;
        blocks.push(Dim::Fixed(room / window.strides[axis] + 1));
        output_padding.push(room % window.strides[axis]);
    }
    let dims = importer.dims(x);
    importer.formula(call, &[x], |v| {
        let channels = Dim::Fixed(columns / area);
        let apart = [&[dims[0], channels, Dim::Fixed(area)], &blocks[..]].concat();
        let mut single = merge_channels(&apart)?;
        single[1] = Dim::Fixed(area);
        single.extend(&blocks);
        let ones = (0..area * area).map(|at| f32::from(at.is_multiple_of(area + 1)));
        let picker = [&[area, 1], &window.kernel[..]].concat();
        let picker = v[0].tape().floats(picker, ones.collect());
        let lay_back = Op::ConvTranspose {
            convolution: window.into_convolution(1),
            output_padding,
        };
        let whole = v[0].reshape(single).with(lay_back, picker);
        let sides = image.into_iter().map(Dim::Fixed);
        Ok(whole.reshape(
            [dims[0], channels]
                .into_iter()
                .chain(sides)
                .collect::<Vec<_>>(),
        ))
    })
}

pub(super) fn matmul(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    product(importer, call, call.input(0)?, call.input(1)?)
}

/// Multiplies matrices; vectors become matrices of one row or one column.
pub(super) fn product(
    importer: &mut Importer,
    call: &Call,
    mut a: ValueId,
    mut b: ValueId,
) -> Result<ValueId> {
    let (a_dims, b_dims) = (importer.dims(a), importer.dims(b));
    if let [inner] = a_dims[..] {
        a = importer.reshaped(call, a, vec![Dim::Fixed(1), inner])?;
    }
    if let [inner] = b_dims[..] {
        b = importer.reshaped(call, b, vec![inner, Dim::Fixed(1)])?;
    }
    let product = importer.add(call, Op::MatMul, &[a, b])?;
    let mut shape = importer.dims(product);
    if b_dims.len() == 1 {
        shape.pop();
    }
    if a_dims.len() == 1 {
        shape.remove(shape.len() - if b_dims.len() == 1 { 1 } else { 2 });
    }
    importer.reshaped(call, product, shape)
}

pub(super) fn gemm(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let mut inputs = vec![call.input(0)?, call.input(1)?];
    inputs.extend(call.optional(2)?);
    let op = Op::Gemm {
        alpha: call.float("alpha", 1.0)?,
        beta: call.float("beta", 1.0)?,
        trans_a: call.flag("transA", false)?,
        trans_b: call.flag("transB", false)?,
    };
    importer.add(call, op, &inputs)
}
