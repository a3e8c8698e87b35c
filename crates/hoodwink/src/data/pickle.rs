//! Python's pickles, as far as CIFAR's batches need them: dictionaries, lists, numbers, text and NumPy arrays of bytes.
//!
//! A pickle is a program. This reader builds values and nothing else: the functions that a pickle names are compared with
//! the few that make arrays, and never called.

use std::rc::Rc;

use crate::error::{Error, Result};

/// How deep values may lie within values.
const MAX_DEPTH: usize = 64;

/// What a pickle holds.
#[derive(Clone, Debug)]
pub(super) enum Value {
    None,
    Int(i64),
    Bytes(Rc<[u8]>),
    List(Rc<Vec<Value>>),
    Dict(Rc<Vec<(Value, Value)>>),
    /// A function or class, by its full name.
    Global(Rc<str>),
    /// What `numpy.dtype` or `_reconstruct` was given, until its state fills it.
    Made(Rc<str>),
    /// The elements of a NumPy array of bytes, row-major.
    Array(Rc<[u8]>),
}

impl Value {
    fn depth(&self) -> usize {
        match self {
            Self::List(values) => 1 + values.iter().map(Self::depth).max().unwrap_or(0),
            Self::Dict(pairs) => {
                let parts = pairs.iter().flat_map(|(key, value)| [key, value]);
                1 + parts.map(Self::depth).max().unwrap_or(0)
            }
            _ => 0,
        }
    }

    /// The value of a dictionary under a text or bytes key.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        let Self::Dict(pairs) = self else { return None };
        let named = |(own, _): &&(Value, Value)| matches!(own, Self::Bytes(own) if **own == *key.as_bytes());
        pairs.iter().find(named).map(|(_, value)| value)
    }

    /// The integers of a list.
    pub(super) fn integers(&self) -> Option<Vec<i64>> {
        let Self::List(values) = self else {
            return None;
        };
        values
            .iter()
            .map(|value| match value {
                Self::Int(value) => Some(*value),
                _ => None,
            })
            .collect()
    }

    /// The texts of a list.
    pub(super) fn texts(&self) -> Option<Vec<String>> {
        let Self::List(values) = self else {
            return None;
        };
        values
            .iter()
            .map(|value| match value {
                Self::Bytes(text) => Some(String::from_utf8_lossy(text).into_owned()),
                _ => None,
            })
            .collect()
    }
}

/// Whether bytes begin as a pickle of protocol 2 or later does.
pub(super) fn is_pickle(bytes: &[u8]) -> bool {
    matches!(bytes, [0x80, 2..=5, ..])
}

/// Reads a pickle; `file` names it in errors.
pub(super) fn read(bytes: &[u8], file: &str) -> Result<Value> {
    let mut reader = Reader {
        bytes,
        at: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: Vec::new(),
    };
    reader.run().ok_or_else(|| {
        Error::invalid(format!(
            "{file} is no pickle of dictionaries, lists and arrays of bytes (byte {} is where it ends to be)",
            reader.at
        ))
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: Vec<Option<Value>>,
}

impl<'a> Reader<'a> {
    /// Runs to the end; `None` where the pickle is broken or does what is not known.
    fn run(&mut self) -> Option<Value> {
        loop {
            match self.byte()? {
                0x80 => _ = self.byte()?,
                0x95 => _ = self.take(8)?,
                b'.' => return self.stack.pop(),
                b'(' => self.marks.push(self.stack.len()),
                b'}' => self.push(Value::Dict(Rc::default()))?,
                b']' => self.push(Value::List(Rc::default()))?,
                b')' => self.push(Value::List(Rc::default()))?,
                b'N' | 0x88 | 0x89 => self.push(Value::None)?,
                b'K' => {
                    let value = self.byte()?;
                    self.push(Value::Int(value.into()))?;
                }
                b'M' => {
                    let value = u16::from_le_bytes(self.array()?);
                    self.push(Value::Int(value.into()))?;
                }
                b'J' => {
                    let value = i32::from_le_bytes(self.array()?);
                    self.push(Value::Int(value.into()))?;
                }
                b'U' | b'C' | 0x8c => {
                    let length = self.byte()?;
                    self.text(length.into())?;
                }
                b'T' | b'B' | b'X' => {
                    let length = u32::from_le_bytes(self.array()?);
                    self.text(length as usize)?;
                }
                b'q' => {
                    let slot = self.byte()?;
                    self.remember(slot.into())?;
                }
                b'r' => {
                    let slot = u32::from_le_bytes(self.array()?);
                    self.remember(slot as usize)?;
                }
                0x94 => self.remember(self.memo.len())?,
                b'h' => {
                    let slot = self.byte()?;
                    self.recall(slot.into())?;
                }
                b'j' => {
                    let slot = u32::from_le_bytes(self.array()?);
                    self.recall(slot as usize)?;
                }
                b'a' => {
                    let value = self.stack.pop()?;
                    self.append(vec![value])?;
                }
                b'e' => {
                    let values = self.marked()?;
                    self.append(values)?;
                }
                b's' => {
                    let (value, key) = (self.stack.pop()?, self.stack.pop()?);
                    self.set(vec![key, value])?;
                }
                b'u' => {
                    let values = self.marked()?;
                    self.set(values)?;
                }
                b't' => {
                    let values = self.marked()?;
                    self.push(Value::List(values.into()))?;
                }
                count @ 0x85..=0x87 => {
                    let from = self.stack.len().checked_sub(usize::from(count - 0x84))?;
                    let values = self.stack.split_off(from);
                    self.push(Value::List(values.into()))?;
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.push(Value::Global(format!("{module}.{name}").into()))?;
                }
                0x93 => {
                    let (name, module) = (self.stack.pop()?, self.stack.pop()?);
                    let (Value::Bytes(name), Value::Bytes(module)) = (name, module) else {
                        return None;
                    };
                    let [module, name] = [&module, &name].map(|text| String::from_utf8_lossy(text));
                    self.push(Value::Global(format!("{module}.{name}").into()))?;
                }
                b'R' => self.make()?,
                b'b' => self.fill()?,
                _ => return None,
            }
        }
    }

    fn push(&mut self, value: Value) -> Option<()> {
        if value.depth() > MAX_DEPTH {
            return None;
        }
        self.stack.push(value);
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn text(&mut self, length: usize) -> Option<()> {
        let bytes = self.take(length)?.into();
        self.push(Value::Bytes(bytes))
    }

    fn line(&mut self) -> Option<String> {
        let length = self
            .bytes
            .get(self.at..)?
            .iter()
            .position(|&byte| byte == b'\n')?;
        let line = String::from_utf8(self.take(length)?.to_vec()).ok()?;
        self.at += 1;
        Some(line)
    }

    fn marked(&mut self) -> Option<Vec<Value>> {
        let from = self.marks.pop()?;
        (from <= self.stack.len()).then(|| self.stack.split_off(from))
    }

    fn remember(&mut self, slot: usize) -> Option<()> {
        // Slots are numbered one after the other, so a pickle needs no more of them than it has bytes.
        if slot > self.bytes.len() {
            return None;
        }
        if self.memo.len() <= slot {
            self.memo.resize(slot + 1, None);
        }
        self.memo[slot] = Some(self.stack.last()?.clone());
        Some(())
    }

    fn recall(&mut self, slot: usize) -> Option<()> {
        let value = self.memo.get(slot)?.clone()?;
        self.push(value)
    }

    fn append(&mut self, values: Vec<Value>) -> Option<()> {
        let mut list = match self.stack.pop()? {
            Value::List(list) => list,
            _ => return None,
        };
        Rc::make_mut(&mut list).extend(values);
        self.push(Value::List(list))
    }

    fn set(&mut self, values: Vec<Value>) -> Option<()> {
        let mut dict = match self.stack.pop()? {
            Value::Dict(dict) => dict,
            _ => return None,
        };
        let mut values = values.into_iter();
        while let (Some(key), Some(value)) = (values.next(), values.next()) {
            Rc::make_mut(&mut dict).push((key, value));
        }
        self.push(Value::Dict(dict))
    }

    /// A call: of `numpy`'s makers of arrays and types, or of the encoder that protocol 2 spells bytes with.
    fn make(&mut self) -> Option<()> {
        let (arguments, function) = (self.stack.pop()?, self.stack.pop()?);
        let (Value::List(arguments), Value::Global(function)) = (arguments, function) else {
            return None;
        };
        match &*function {
            "_codecs.encode" => {
                let [Value::Bytes(text), ..] = &arguments[..] else {
                    return None;
                };
                let text = std::str::from_utf8(text).ok()?;
                let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
                self.push(Value::Bytes(bytes?.into()))
            }
            "numpy.core.multiarray._reconstruct" | "numpy._core.multiarray._reconstruct" => {
                self.push(Value::Made("array".into()))
            }
            "numpy.dtype" => match &arguments[..] {
                [Value::Bytes(name), ..] => {
                    let name = String::from_utf8_lossy(name).into_owned();
                    self.push(Value::Made(name.into()))
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// The state of what was made: of an array its shape, type and bytes; of a type nothing that matters.
    fn fill(&mut self) -> Option<()> {
        let (state, made) = (self.stack.pop()?, self.stack.pop()?);
        let Value::Made(kind) = made else { return None };
        if &*kind != "array" {
            return self.push(Value::Made(kind));
        }
        let Value::List(state) = state else {
            return None;
        };
        let [_, shape, Value::Made(dtype), _, Value::Bytes(bytes)] = &state[..] else {
            return None;
        };
        if !matches!(&**dtype, "u1" | "|u1") {
            return None;
        }
        let sides = shape.integers()?;
        let elements = sides.into_iter().try_fold(1_i64, i64::checked_mul);
        if elements != i64::try_from(bytes.len()).ok() {
            return None;
        }
        self.push(Value::Array(bytes.clone()))
    }
}
