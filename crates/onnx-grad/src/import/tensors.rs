//! Converts `TensorProto` to [`Tensor`]: element types, data fields, external weights.

use std::{
    io::{ErrorKind, Read, Seek, SeekFrom},
    path::{Component, Path},
};

use half::{bf16, f16};

use super::open;
use crate::{
    Error, Result,
    proto::{DataLocation, DataType, StringStringEntryProto, TensorProto},
    tensor::{DType, Elements, Tensor},
};

/// Maximum number of elements of a tensor.
const MAX_ELEMENTS: usize = 1 << 32;

/// Maximum number of axes of a tensor: no engine supports more, and every node's shape costs memory.
pub(super) const MAX_RANK: usize = 64;

/// Maximum total memory of external weights, in bytes. Several tensors may refer to the same part of a file, so the
/// file sizes don't bound it.
const MAX_EXTERNAL_BYTES: usize = 1 << 34;

/// Returns the element type that represents a type of the file; `None` if there is none.
pub(super) fn element_type(data_type: i32) -> Option<DType> {
    Some(match DataType::try_from(data_type).ok()? {
        DataType::Float | DataType::Float16 | DataType::Bfloat16 | DataType::Double => DType::F32,
        DataType::Uint8
        | DataType::Int8
        | DataType::Uint16
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Uint32
        | DataType::Uint64 => DType::I64,
        DataType::Bool => DType::Bool,
        DataType::Undefined | DataType::String | DataType::Complex64 | DataType::Complex128 => {
            return None;
        }
    })
}

/// Returns the file's name for an element type.
pub(crate) fn type_name(data_type: i32) -> String {
    DataType::try_from(data_type).map_or_else(
        |_| format!("number {data_type}"),
        |known| format!("{known:?}").to_lowercase(),
    )
}

/// Returns a notice about what an element type's conversion loses.
pub(super) fn conversion_notice(data_type: i32) -> Option<String> {
    let to = match DataType::try_from(data_type).ok()? {
        DataType::Float16 | DataType::Bfloat16 | DataType::Double => "float",
        DataType::Uint8 | DataType::Int8 | DataType::Uint16 | DataType::Int16 => "int64",
        DataType::Int32 | DataType::Uint32 | DataType::Uint64 => "int64",
        _ => return None,
    };
    Some(format!("{} is computed as {to}", type_name(data_type)))
}

/// Returns the tensor of an initialiser, whose elements may be in a file in `folder`.
pub(super) fn initializer(proto: &TensorProto, folder: Option<&Path>) -> Result<Tensor> {
    if element_type(proto.data_type).is_none() {
        return Err(Error::unsupported(format!(
            "initialiser {:?}: has elements of type {}, which this version cannot read",
            proto.name,
            type_name(proto.data_type)
        )));
    }
    let fail = |message: String| Error::invalid(format!("initialiser {:?}: {message}", proto.name));
    if proto.data_location != DataLocation::External as i32 {
        return embedded(proto).map_err(fail);
    }
    let (shape, dtype) = shape_and_type(proto).map_err(fail)?;
    let raw = external(proto, folder, bytes_in_file(proto)?)?;
    let elements = from_bytes(&raw, proto.data_type, dtype).map_err(fail)?;
    Tensor::new(shape, elements)
}

/// Returns how many bytes of an external file a tensor takes.
pub(super) fn bytes_in_file(proto: &TensorProto) -> Result<usize> {
    let fail = |message: String| Error::invalid(format!("initialiser {:?}: {message}", proto.name));
    let (shape, _) = shape_and_type(proto).map_err(fail)?;
    let elements: usize = shape.iter().product();
    elements
        .checked_mul(width(proto.data_type))
        .ok_or_else(|| fail("is too large".into()))
}

/// Fails if the external weights would take too much memory in total.
pub(super) fn check_external(initializers: &[TensorProto]) -> Result<()> {
    let mut taken = 0_usize;
    for proto in initializers {
        if proto.data_location != DataLocation::External as i32 {
            continue;
        }
        // An invalid shape is reported when the tensor is read.
        let Ok((shape, dtype)) = shape_and_type(proto) else {
            continue;
        };
        let width = match dtype {
            DType::F32 => 4,
            DType::I64 => 8,
            DType::Bool => 1,
        };
        let bytes = shape.iter().product::<usize>().saturating_mul(width);
        taken = taken.saturating_add(bytes);
        if taken > MAX_EXTERNAL_BYTES {
            return Err(Error::unsupported(format!(
                "initialiser {:?}: with it, the external weights exceed 16 GiB",
                proto.name
            )));
        }
    }
    Ok(())
}

/// Returns the tensor of a proto that contains its elements. Errors are sentences without a subject.
pub(super) fn embedded(proto: &TensorProto) -> Result<Tensor, String> {
    if proto.data_location == DataLocation::External as i32 {
        return Err("has an attribute with external data, which attributes may not have".into());
    }
    let (shape, dtype) = shape_and_type(proto)?;
    let elements = match &proto.raw_data {
        Some(raw) => from_bytes(raw, proto.data_type, dtype)?,
        None => from_fields(proto)?,
    };
    let count = match &elements {
        Elements::F32(values) => values.len(),
        Elements::I64(values) => values.len(),
        Elements::Bool(values) => values.len(),
    };
    Tensor::new(shape.clone(), elements)
        .map_err(|_| format!("has shape {shape:?} but {count} elements"))
}

fn shape_and_type(proto: &TensorProto) -> Result<(Vec<usize>, DType), String> {
    let dtype = element_type(proto.data_type).ok_or_else(|| {
        format!(
            "has elements of type {}, which this version cannot read",
            type_name(proto.data_type)
        )
    })?;
    if proto.dims.len() > MAX_RANK {
        return Err(format!(
            "has {} axes; the maximum is {MAX_RANK}",
            proto.dims.len()
        ));
    }
    let shape: Option<Vec<usize>> = proto
        .dims
        .iter()
        .map(|&side| usize::try_from(side).ok())
        .collect();
    let shape = shape.ok_or_else(|| format!("has the shape {:?}", proto.dims))?;
    shape
        .iter()
        .try_fold(1_usize, |product, &side| product.checked_mul(side.max(1)))
        .filter(|&elements| elements <= MAX_ELEMENTS)
        .ok_or_else(|| format!("has the shape {shape:?}: more than 2^32 elements"))?;
    Ok((shape, dtype))
}

/// Number of bytes of one element in `raw_data`.
fn width(data_type: i32) -> usize {
    match DataType::try_from(data_type) {
        Ok(DataType::Uint8 | DataType::Int8 | DataType::Bool) => 1,
        Ok(DataType::Uint16 | DataType::Int16 | DataType::Float16 | DataType::Bfloat16) => 2,
        Ok(DataType::Float | DataType::Int32 | DataType::Uint32) => 4,
        _ => 8,
    }
}

fn from_bytes(raw: &[u8], data_type: i32, dtype: DType) -> Result<Elements, String> {
    macro_rules! read {
        ($from:ty, $variant:ident, $convert:expr) => {{
            const WIDTH: usize = size_of::<$from>();
            let (elements, rest) = raw.as_chunks::<WIDTH>();
            if !rest.is_empty() {
                return Err(format!(
                    "has {} bytes, which is not a multiple of its element size {WIDTH}",
                    raw.len()
                ));
            }
            let elements = elements.iter().map(|&bytes| <$from>::from_le_bytes(bytes));
            Elements::$variant(elements.map($convert).collect())
        }};
    }
    Ok(match DataType::try_from(data_type) {
        Ok(DataType::Float) => read!(f32, F32, |value| value),
        Ok(DataType::Float16) => read!(f16, F32, f32::from),
        Ok(DataType::Bfloat16) => read!(bf16, F32, f32::from),
        Ok(DataType::Double) => read!(f64, F32, |value| value as f32),
        Ok(DataType::Uint8) => read!(u8, I64, i64::from),
        Ok(DataType::Int8) => read!(i8, I64, i64::from),
        Ok(DataType::Uint16) => read!(u16, I64, i64::from),
        Ok(DataType::Int16) => read!(i16, I64, i64::from),
        Ok(DataType::Int32) => read!(i32, I64, i64::from),
        Ok(DataType::Uint32) => read!(u32, I64, i64::from),
        Ok(DataType::Int64) => read!(i64, I64, |value| value),
        Ok(DataType::Uint64) => read!(u64, I64, |value| i64::try_from(value).unwrap_or(i64::MAX)),
        Ok(DataType::Bool) => read!(u8, Bool, |value| value != 0),
        _ => return Err(format!("has elements of type {dtype:?}")),
    })
}

fn from_fields(proto: &TensorProto) -> Result<Elements, String> {
    let bits = || proto.int32_data.iter().map(|&bits| bits as u16);
    Ok(match DataType::try_from(proto.data_type) {
        Ok(DataType::Float) => Elements::F32(proto.float_data.as_slice().into()),
        Ok(DataType::Float16) => {
            Elements::F32(bits().map(|bits| f16::from_bits(bits).to_f32()).collect())
        }
        Ok(DataType::Bfloat16) => {
            Elements::F32(bits().map(|bits| bf16::from_bits(bits).to_f32()).collect())
        }
        Ok(DataType::Double) => Elements::F32(
            proto
                .double_data
                .iter()
                .map(|&value| value as f32)
                .collect(),
        ),
        Ok(DataType::Int64) => Elements::I64(proto.int64_data.as_slice().into()),
        Ok(DataType::Uint32 | DataType::Uint64) => Elements::I64(
            proto
                .uint64_data
                .iter()
                .map(|&value| i64::try_from(value).unwrap_or(i64::MAX))
                .collect(),
        ),
        Ok(DataType::Bool) => {
            Elements::Bool(proto.int32_data.iter().map(|&value| value != 0).collect())
        }
        Ok(
            DataType::Uint8 | DataType::Int8 | DataType::Uint16 | DataType::Int16 | DataType::Int32,
        ) => Elements::I64(proto.int32_data.iter().map(|&value| value.into()).collect()),
        _ => {
            return Err(format!(
                "has elements of type {}",
                type_name(proto.data_type)
            ));
        }
    })
}

/// Reads `bytes` bytes from the file that a tensor names. The file must be in the model's folder, also after links are
/// resolved.
pub(super) fn external(
    proto: &TensorProto,
    folder: Option<&Path>,
    bytes: usize,
) -> Result<Vec<u8>> {
    let name = &proto.name;
    let entry = |key: &str| -> Option<&str> {
        let with_key = |entry: &&StringStringEntryProto| entry.key == key;
        let entry = proto.external_data.iter().find(with_key);
        entry.map(|entry| entry.value.as_str())
    };
    let number = |key: &str| -> Result<Option<u64>> {
        let parse = |text: &str| {
            text.parse::<u64>().map_err(|_| {
                Error::invalid(format!(
                    "initialiser {name:?} has the invalid {key} {text:?} for its external data"
                ))
            })
        };
        entry(key).map(parse).transpose()
    };
    let location = entry("location").ok_or_else(|| {
        Error::invalid(format!(
            "initialiser {name:?} has external data without a file name"
        ))
    })?;
    let folder = folder.ok_or_else(|| {
        Error::unsupported(format!(
            "initialiser {name:?} is in the file {location:?}, but the model was not read from a folder; \
             load it by its path"
        ))
    })?;
    let inside = Path::new(location)
        .components()
        .all(|component| matches!(component, Component::Normal(_) | Component::CurDir));
    let path = folder.join(location);
    let io = |message: String| Error::Io {
        path: path.display().to_string(),
        message: format!("{message} (holds initialiser {name:?} of the model)"),
    };
    let canonical = |path: &Path| {
        path.canonicalize().map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::Io {
                path: path.display().to_string(),
                message: format!(
                    "there is no such file, and the model keeps weights in it (initialiser {name:?} is the first); copy it \
                     there, under this name"
                ),
            },
            _ => io(error.to_string()),
        })
    };
    if !inside || !canonical(&path)?.starts_with(canonical(folder)?) {
        return Err(Error::invalid(format!(
            "initialiser {name:?} is in {location:?}, outside the model's folder"
        )));
    }
    let offset = number("offset")?.unwrap_or(0);
    let wanted = bytes as u64;
    if number("length")?.is_some_and(|length| length != wanted) {
        return Err(Error::invalid(format!(
            "initialiser {name:?} needs {wanted} bytes, but the file states a different length"
        )));
    }
    let (mut file, length) = open(&path).map_err(io)?;
    if offset.checked_add(wanted).is_none_or(|end| end > length) {
        return Err(io(format!(
            "has {length} bytes; {wanted} bytes from offset {offset} are needed"
        )));
    }
    let mut raw = vec![0; bytes];
    file.seek(SeekFrom::Start(offset))
        .and_then(|_| file.read_exact(&mut raw))
        .map_err(|error| io(error.to_string()))?;
    Ok(raw)
}
