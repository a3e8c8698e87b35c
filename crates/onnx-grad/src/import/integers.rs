//! Integer types, which the graph does not have.
//!
//! The graph holds integers as `I64`, or as floats if they are quantised values with a gradient. Their type in the file
//! is kept separately, for operators that need it and for arithmetic that wraps around at the limits of a type.

use super::{Importer, Value, call::Call, ops::Outputs, tensors};
use crate::{
    Result,
    op::Op,
    proto::DataType,
    tape::Expr,
    tensor::{DType, Tensor},
};

/// Operators that compute differently with integers than with floats.
const ARITHMETIC: [&str; 10] = [
    "Abs",
    "Add",
    "Div",
    "Mod",
    "Mul",
    "Neg",
    "Pow",
    "ReduceSum",
    "Sub",
    "Sum",
];

/// Operators with several inputs of one type whose result does not depend on how integers are held.
const ALIKE: [&str; 10] = [
    "Concat",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Max",
    "Min",
    "Pad",
    "Where",
];

/// Operators on floats that are also exact for integers of up to 16 bits.
const AS_FLOATS: [&str; 4] = ["MaxPool", "ReduceMax", "ReduceMin", "Relu"];

/// Operators on floats that would round or overflow differently with integers.
const FLOATS_ALONE: [&str; 6] = ["CumSum", "Einsum", "Gemm", "MatMul", "Resize", "Upsample"];

/// Returns the number of values of a type of up to 16 bits, and the smallest of them.
fn narrow(data_type: i32) -> Option<(i64, i64)> {
    Some(match DataType::try_from(data_type).ok()? {
        DataType::Uint8 => (1 << 8, 0),
        DataType::Int8 => (1 << 8, -(1 << 7)),
        DataType::Uint16 => (1 << 16, 0),
        DataType::Int16 => (1 << 16, -(1 << 15)),
        _ => return None,
    })
}

/// Wraps integers around at the limits of a type. Types of more than 16 bits are treated as unlimited.
pub(super) fn wrapped(x: Expr<'_>, data_type: i32) -> Expr<'_> {
    let Some((count, least)) = narrow(data_type) else {
        return x;
    };
    let integer = |value: i64| match Tensor::i64([], [value]) {
        Ok(tensor) => x.tape().constant(tensor),
        Err(failure) => x.tape().fail(failure),
    };
    match least {
        0 => x.with(Op::Mod, integer(count)),
        _ => (x - integer(least)).with(Op::Mod, integer(count)) + integer(least),
    }
}

/// Returns whether a type contains all values of another.
pub(super) fn includes(data_type: i32, other: i32) -> bool {
    let wide = [DataType::Int32 as i32, DataType::Int64 as i32];
    match (narrow(data_type), narrow(other)) {
        (Some((count, least)), Some((other_count, other_least))) => {
            least <= other_least && other_least + other_count <= least + count
        }
        (None, Some(_)) => wide.contains(&data_type),
        _ => data_type == other,
    }
}

impl Importer {
    /// Returns the integer type of an input; `None` if it holds something else or is unknown.
    pub(super) fn integer_type(&self, call: &Call, at: usize) -> Option<i32> {
        self.integer_types.get(call.node.input.get(at)?).copied()
    }

    /// Records the type of a value of the file if it holds integers.
    pub(super) fn keep_type(&mut self, name: &str, data_type: Option<i32>) {
        let is_integer = |&kind: &i32| tensors::element_type(kind) == Some(DType::I64);
        match data_type.filter(is_integer) {
            Some(kind) => self.integer_types.insert(name.to_owned(), kind),
            None => self.integer_types.remove(name),
        };
    }

    /// Returns the call with its integers held in the way that its operator needs.
    pub(super) fn held<'a>(&mut self, call: &Call<'a>) -> Result<Call<'a>> {
        let mut held = Call {
            node: call.node,
            inputs: call.inputs.clone(),
            opset: call.opset,
        };
        let typed: Vec<_> = (0..call.inputs.len())
            .filter_map(|at| match call.value(at)? {
                Value::Tensor(id) => Some((at, *id, self.integer_type(call, at)?)),
                Value::Sizes(_) | Value::Positions(_) => None,
            })
            .collect();
        let Some(&(_, _, data_type)) = typed.first() else {
            return Ok(held);
        };
        let dtypes = typed
            .iter()
            .map(|&(_, id, _)| self.builder.graph().node(id).dtype);
        let op_type = call.node.op_type.as_str();
        let to = match op_type {
            _ if ARITHMETIC.contains(&op_type) => DType::I64,
            _ if ALIKE.contains(&op_type) && dtypes.clone().any(|dtype| dtype == DType::F32) => {
                DType::F32
            }
            _ if AS_FLOATS.contains(&op_type) && narrow(data_type).is_some() => DType::F32,
            "Resize" | "Upsample"
                if call.string("mode", "nearest")? == "nearest" && narrow(data_type).is_some() =>
            {
                DType::F32
            }
            _ if FLOATS_ALONE.contains(&op_type)
                && matches!(typed.first(), Some(&(0, id, _)) if self.builder.graph().node(id).dtype == DType::I64) =>
            {
                return Err(call.unsupported("computes with integers"));
            }
            _ => return Ok(held),
        };
        let others: Vec<_> = typed
            .iter()
            .zip(dtypes)
            .filter(|&(&(_, _, own), dtype)| own == data_type && dtype != to)
            .map(|(&(at, id, _), _)| (at, id))
            .collect();
        for (at, id) in others {
            let cast = self.builder.add(call.name(), Op::Cast { to }, &[id])?;
            held.inputs[at] = Some(cast.into());
        }
        Ok(held)
    }

    /// Returns the outputs of a node and records their types; values that may exceed their type's limits are wrapped.
    pub(super) fn typed(&mut self, call: &Call, mut outputs: Outputs) -> Result<Outputs> {
        for (at, name) in call.node.output.iter().enumerate() {
            let data_type = self.output_type(call, at);
            if let (Some(data_type), Some(Value::Tensor(id))) = (data_type, outputs.get(at)) {
                let (id, op_type) = (*id, call.node.op_type.as_str());
                let is_integer = self.builder.graph().node(id).dtype == DType::I64;
                if is_integer && ARITHMETIC.contains(&op_type) && narrow(data_type).is_some() {
                    let wrapped = self.formula(call, &[id], |v| Ok(wrapped(v[0], data_type)))?;
                    outputs[at] = wrapped.into();
                }
            }
            self.keep_type(name, data_type);
        }
        Ok(outputs)
    }

    /// Returns the type of an output if it holds integers.
    fn output_type(&self, call: &Call, at: usize) -> Option<i32> {
        let of_input = |at: usize| self.integer_type(call, at);
        let stated = |name: &str| i32::try_from(call.int(name, 0).ok()?).ok();
        match (call.node.op_type.as_str(), at) {
            ("Cast", _) => stated("to"),
            ("CastLike" | "QLinearConcat" | "Where", _) => of_input(1),
            ("Constant" | "ConstantOfShape", _) => call.tensor_type("value"),
            ("OneHot", _) => of_input(2),
            ("QuantizeLinear", _) => Some(self.quantised_type(call)),
            ("DynamicQuantizeLinear", 0 | 2) => Some(DataType::Uint8 as i32),
            ("ConvInteger" | "MatMulInteger", _) => Some(DataType::Int32 as i32),
            ("QLinearConv" | "QLinearMatMul" | "QLinearAdd" | "QLinearMul", _) => of_input(7),
            ("QGemm", _) => of_input(8),
            (
                "QLinearAveragePool"
                | "QLinearGlobalAveragePool"
                | "QLinearLeakyRelu"
                | "QLinearSigmoid",
                _,
            ) => of_input(4).or_else(|| of_input(0)),
            (
                "DequantizeLinear"
                | "DynamicQuantizeLinear"
                | "DynamicQuantizeMatMul"
                | "MatMulIntegerToFloat",
                _,
            )
            | ("MaxPool" | "TopK", 1..) => None,
            (
                "ArgMax" | "ArgMin" | "Shape" | "Size" | "Equal" | "Greater" | "GreaterOrEqual",
                _,
            )
            | ("Less" | "LessOrEqual" | "IsInf" | "IsNaN", _) => None,
            _ => of_input(0),
        }
    }
}
