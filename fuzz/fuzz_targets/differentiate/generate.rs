//! Generates graphs and numbers from the fuzzer's bytes.

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use onnx_grad::{Convolution, DType, Dim, Graph, Op, PadMode, Pool, Reduction, Tensor, ValueId};

/// The batch size for graphs with a symbolic batch.
const BATCH: usize = 2;

/// Maximum number of elements of a value, to keep executions short.
const LARGEST: usize = 512;

/// Maximum number of drawn operators. Those that do not fit the available values are left out.
const STEPS: usize = 10;

/// Generates a graph with the float input `x`. Returns it with its last value.
pub(crate) fn graph(bytes: &mut Unstructured) -> Result<(Graph, ValueId)> {
    let mut graph = Graph::new();
    let batch = if bytes.arbitrary()? {
        Dim::Batch(1)
    } else {
        Dim::Fixed(BATCH)
    };
    let mut shape = vec![batch];
    for _ in 0..bytes.int_in_range(1..=3)? {
        shape.push(Dim::Fixed(bytes.int_in_range(1..=5)?));
    }
    let mut floats = vec![graph.input("x", DType::F32, shape)];
    for _ in 0..bytes.int_in_range(1..=STEPS)? {
        let Some(id) = operator(bytes, &mut graph, &floats)? else {
            continue;
        };
        // Sums over nothing are not tested: most engines refuse empty tensors somewhere.
        let elements: usize = sides(graph.shape(id)).iter().product();
        if (1..=LARGEST).contains(&elements) {
            floats.push(id);
        }
    }
    Ok((graph, floats[floats.len() - 1]))
}

/// Draws distinct numbers, so that no values tie by chance, and further from 0 than a step: many kinks together would
/// look smooth.
pub(crate) fn values(bytes: &mut Unstructured, shape: &[usize]) -> Result<Tensor> {
    let count: usize = shape.iter().product();
    let mut values = Vec::with_capacity(count);
    for at in 0..count {
        let coarse: i8 = bytes.arbitrary()?;
        let fine = (at as f32 * 0.618_034).fract() - 0.5;
        let value = f32::from(coarse) / 64.0 + 0.007 * fine;
        values.push(value + 0.05_f32.copysign(value));
    }
    Ok(Tensor::f32(shape, values).expect("as many values as the shape has"))
}

/// Draws numbers for a picture, none equal to a constant made of the same bytes. If `x > constant` tied at every pixel,
/// both sides would look equally smooth.
pub(crate) fn picture(bytes: &mut Unstructured, shape: &[usize]) -> Result<Tensor> {
    let values = values(bytes, shape)?;
    let scaled: Vec<f32> = (values.as_f32().unwrap_or_default().iter())
        .map(|value| 1.25 * value)
        .collect();
    Ok(Tensor::f32(shape, scaled).expect("as many values as the shape has"))
}

/// Returns the shape with the batch size filled in.
pub(crate) fn sides(shape: &[Dim]) -> Vec<usize> {
    let side = |dim: &Dim| match *dim {
        Dim::Fixed(side) => side,
        Dim::Batch(factor) => factor * BATCH,
    };
    shape.iter().map(side).collect()
}

/// Appends an operator on some of the values, or returns `None` if it cannot take them.
fn operator(
    bytes: &mut Unstructured,
    graph: &mut Graph,
    floats: &[ValueId],
) -> Result<Option<ValueId>> {
    let x = *bytes.choose(floats)?;
    let dims = graph.shape(x).to_vec();
    let rank = dims.len();
    let fixed = |axis: usize| match dims.get(axis) {
        Some(&Dim::Fixed(side)) => side,
        _ => 1,
    };
    let axis = bytes.int_in_range(0..=rank.max(1) - 1)?;
    let kind: u8 = bytes.int_in_range(0..=15)?;
    let (op, inputs) = match kind {
        0..=2 => (unary(bytes)?, vec![x]),
        3 | 4 => {
            let op = bytes.choose(&[
                Op::Add,
                Op::Div,
                Op::Max,
                Op::Min,
                Op::Mul,
                Op::Sub,
                Op::MatMul,
                Op::Pow,
            ])?;
            (op.clone(), vec![x, other(bytes, graph, floats, &dims)?])
        }
        5 => {
            let b = other(bytes, graph, floats, &dims)?;
            let op = bytes.choose(&[Op::Greater, Op::GreaterOrEqual, Op::Less, Op::LessOrEqual])?;
            let Ok(condition) = graph.add(op.clone(), &[x, b]) else {
                return Ok(None);
            };
            (
                Op::Where,
                vec![
                    condition,
                    *bytes.choose(floats)?,
                    other(bytes, graph, floats, &dims)?,
                ],
            )
        }
        6 | 7 if rank < 3 => return Ok(None),
        6 => {
            let spatial = rank - 2;
            let kernel = windows(bytes, spatial, 1..=3)?;
            let groups = if bytes.ratio(1, 4)? { fixed(1) } else { 1 };
            let out = groups * bytes.int_in_range(1..=2)?;
            let transposed: bool = bytes.arbitrary()?;
            let lead = if transposed {
                [fixed(1), out / groups]
            } else {
                [out, fixed(1) / groups]
            };
            let weight = values(bytes, &[&lead[..], &kernel].concat())?;
            let weight = graph.named_constant("weight", weight);
            let convolution = Convolution {
                strides: windows(bytes, spatial, 1..=2)?,
                pads_before: windows(bytes, spatial, 0..=2)?,
                pads_after: windows(bytes, spatial, 0..=2)?,
                dilations: windows(bytes, spatial, 1..=2)?,
                groups,
            };
            let op = match transposed {
                true => Op::ConvTranspose {
                    convolution,
                    output_padding: vec![0; spatial],
                },
                false => Op::Conv(convolution),
            };
            (op, vec![x, weight])
        }
        7 => {
            let spatial = rank - 2;
            let pool = Pool {
                kernel: windows(bytes, spatial, 1..=3)?,
                strides: windows(bytes, spatial, 1..=3)?,
                pads_before: windows(bytes, spatial, 0..=1)?,
                pads_after: windows(bytes, spatial, 0..=1)?,
                dilations: vec![1; spatial],
                ceil_extra: vec![0; spatial],
            };
            let op = match bytes.arbitrary()? {
                true => Op::MaxPool(pool),
                false => Op::AveragePool {
                    pool,
                    count_include_pad: bytes.arbitrary()?,
                },
            };
            (op, vec![x])
        }
        8 => {
            let kinds = [
                Reduction::Sum,
                Reduction::Mean,
                Reduction::Max,
                Reduction::Min,
                Reduction::Prod,
            ];
            let kind = *bytes.choose(&kinds)?;
            (
                Op::Reduce {
                    kind,
                    axes: vec![axis],
                    keep_dims: bytes.arbitrary()?,
                },
                vec![x],
            )
        }
        9 => {
            let ops = [Op::Softmax { axis }, Op::LogSoftmax { axis }];
            (bytes.choose(&ops)?.clone(), vec![x])
        }
        10 => {
            let scale = values(bytes, &[fixed(rank.max(1) - 1)])?;
            let scale = graph.constant(scale);
            (
                Op::LayerNormalization { axis, epsilon: 0.1 },
                vec![x, scale],
            )
        }
        11 => {
            let mut perm: Vec<usize> = (0..rank).collect();
            for at in 1..rank {
                perm.swap(at, bytes.int_in_range(0..=at)?);
            }
            (Op::Transpose { perm }, vec![x])
        }
        12 => {
            let mut shape = dims.clone();
            match bytes.arbitrary()? {
                true => shape.insert(axis, Dim::Fixed(1)),
                false if rank > 2 => {
                    let joined = fixed(rank - 2) * fixed(rank - 1);
                    shape.truncate(rank - 2);
                    shape.push(Dim::Fixed(joined));
                }
                false => {}
            }
            (Op::Reshape { shape }, vec![x])
        }
        13 => (Op::Concat { axis }, vec![x, *bytes.choose(floats)?]),
        14 => moved(bytes, graph, x, axis, fixed(axis), rank)?,
        _ => {
            let modes = [PadMode::Constant(0.5), PadMode::Reflect, PadMode::Edge];
            let mut before = vec![0; rank];
            let mut after = vec![0; rank];
            if rank > 0 {
                // A mirror needs as many elements on its other side.
                let most = fixed(axis).clamp(1, 3) - 1;
                before[axis] = bytes.int_in_range(0..=most)?;
                after[axis] = bytes.int_in_range(0..=most)?;
            }
            (
                Op::Pad {
                    mode: *bytes.choose(&modes)?,
                    before,
                    after,
                },
                vec![x],
            )
        }
    };
    Ok(graph.add(op, &inputs).ok())
}

fn unary(bytes: &mut Unstructured) -> Result<Op> {
    let (alpha, beta) = (0.3, 0.4);
    let ops = [
        Op::Abs,
        Op::Clip {
            min: -0.7,
            max: 0.9,
        },
        Op::Cos,
        Op::Elu { alpha },
        Op::Erf,
        Op::Exp,
        Op::Floor,
        Op::Gelu {
            tanh: bytes.arbitrary()?,
        },
        Op::HardSigmoid { alpha, beta },
        Op::HardSwish,
        Op::LeakyRelu { alpha },
        Op::Log,
        Op::Neg,
        Op::Reciprocal,
        Op::Relu,
        Op::Round,
        Op::Sigmoid,
        Op::Sign,
        Op::Sin,
        Op::Softplus,
        Op::Sqrt,
        Op::Tanh,
    ];
    Ok(bytes.choose(&ops)?.clone())
}

/// Returns a second operand: another value, or a constant that broadcasts with `dims`.
fn other(
    bytes: &mut Unstructured,
    graph: &mut Graph,
    floats: &[ValueId],
    dims: &[Dim],
) -> Result<ValueId> {
    if bytes.arbitrary()? {
        return Ok(*bytes.choose(floats)?);
    }
    let skipped = bytes.int_in_range(0..=dims.len())?;
    let mut shape = Vec::new();
    for dim in &dims[skipped..] {
        shape.push(match *dim {
            Dim::Fixed(side) if bytes.ratio(2, 3)? => side,
            _ => 1,
        });
    }
    let tensor = values(bytes, &shape)?;
    Ok(graph.named_constant("constant", tensor))
}

/// Appends an operator that picks elements along an axis.
fn moved(
    bytes: &mut Unstructured,
    graph: &mut Graph,
    x: ValueId,
    axis: usize,
    side: usize,
    rank: usize,
) -> Result<(Op, Vec<ValueId>)> {
    let last = side.max(1) as i64 - 1;
    Ok(match bytes.int_in_range(0..=2)? {
        0 => {
            let start = bytes.int_in_range(0..=last)?;
            let backwards = rank <= 4 && bytes.arbitrary()?;
            let (ends, steps) = match backwards {
                true => (
                    bytes.int_in_range(-1..=start - 1)?,
                    -bytes.int_in_range(1..=2)?,
                ),
                false => (
                    bytes.int_in_range(start + 1..=last + 1)?,
                    bytes.int_in_range(1..=2)?,
                ),
            };
            // rten 0.27 panics at five axes or more with a negative step.
            let steps = if rank > 4 { 1 } else { steps };
            let op = Op::Slice {
                axes: vec![axis],
                starts: vec![start],
                ends: vec![ends],
                steps: vec![steps],
            };
            (op, vec![x])
        }
        1 => {
            let mut indices = Vec::new();
            for _ in 0..bytes.int_in_range(1..=4)? {
                indices.push(bytes.int_in_range(-last - 1..=last)?);
            }
            let indices = graph.constant(Tensor::vector(&indices));
            (Op::Gather { axis }, vec![x, indices])
        }
        _ => {
            let mut repeats = vec![1; rank];
            if rank > 0 {
                repeats[axis] = bytes.int_in_range(1..=3)?;
            }
            (Op::Tile { repeats }, vec![x])
        }
    })
}

/// Draws one number per spatial axis.
fn windows(
    bytes: &mut Unstructured,
    spatial: usize,
    range: std::ops::RangeInclusive<usize>,
) -> Result<Vec<usize>> {
    (0..spatial)
        .map(|_| bytes.int_in_range(range.clone()))
        .collect()
}
