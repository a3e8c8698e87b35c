//! Python's pickles, as far as CIFAR's batches need them: dictionaries, lists, numbers, text and NumPy arrays of bytes.
//!
//! A pickle is a program. This reader only builds values: the functions that a pickle names are compared with the few
//! that make arrays, and never called. As in Python, a list or dictionary is a single object however often it is
//! referenced. So values are indices of lists and slices of the file, and nothing is copied, compared or followed
//! before it is needed. Time and memory are proportional to the file, whatever its values hold.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::error::{Error, Result};

/// Maximum number of instructions. A batch has a few per picture, and a file holds at most 90,000 pictures.
const MAX_STEPS: usize = 1 << 20;

/// A value of a pickle.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// Text or bytes.
    Text(&'a [u8]),
    /// Text whose characters stand for bytes, as in protocol 2.
    Latin(&'a [u8]),
    /// A list or tuple, by its index.
    List(usize),
    /// A dictionary, by the index of the list in which keys and values alternate.
    Dict(usize),
    Function(Function),
    /// NumPy's element type, and whether it is unsigned bytes.
    Type(bool),
    /// An array whose state is not set yet.
    Unfilled,
    /// An array, by the index of the list with its state.
    Filled(usize),
    /// An array, by the index of the list of arguments to `_frombuffer`.
    Buffer(usize),
}

/// A function or class that a pickle names.
#[derive(Clone, Copy, Debug)]
pub(super) enum Function {
    Encode,
    Reconstruct,
    FromBuffer,
    Type,
    Other,
}

impl Function {
    fn named(module: &[u8], name: &[u8]) -> Self {
        match (module, name) {
            (b"_codecs", b"encode") => Self::Encode,
            (b"numpy.core.multiarray" | b"numpy._core.multiarray", b"_reconstruct") => {
                Self::Reconstruct
            }
            (b"numpy.core.numeric" | b"numpy._core.numeric", b"_frombuffer") => Self::FromBuffer,
            (b"numpy", b"dtype") => Self::Type,
            _ => Self::Other,
        }
    }
}

/// The contents of a pickle.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    top: Value<'a>,
    lists: Vec<Vec<Value<'a>>>,
}

impl<'a> Pickle<'a> {
    /// Returns the value of a key if the pickle is a dictionary. The last of several counts, as in Python.
    pub(super) fn get(&self, key: &str) -> Option<Value<'a>> {
        let Value::Dict(pairs) = self.top else {
            return None;
        };
        let (pairs, _) = self.lists[pairs].as_chunks::<2>();
        let named = |[own, _]: &&[Value; 2]| matches!(own, Value::Text(own) | Value::Latin(own) if *own == key.as_bytes());
        pairs.iter().rfind(named).map(|[_, value]| *value)
    }

    fn list(&self, value: Value) -> Option<&[Value<'a>]> {
        match value {
            Value::List(list) => Some(&self.lists[list]),
            _ => None,
        }
    }

    /// Returns the integers of a list.
    pub(super) fn integers(&self, value: Value) -> Option<Vec<i64>> {
        let integer = |value: &Value| match value {
            Value::Int(value) => Some(*value),
            _ => None,
        };
        self.list(value)?.iter().map(integer).collect()
    }

    /// Returns the texts of a list if they take at most `limit` bytes in all, because one text may be referenced many
    /// times.
    pub(super) fn texts(&self, value: Value, limit: usize) -> Option<Vec<String>> {
        let list = self.list(value)?;
        let text = |value: &Value<'a>| match value {
            Value::Text(text) | Value::Latin(text) => Some(*text),
            _ => None,
        };
        let lengths = list.iter().map(|value| text(value).map(<[u8]>::len));
        if lengths.sum::<Option<usize>>()? > limit {
            return None;
        }
        list.iter()
            .map(|value| text(value).map(|text| String::from_utf8_lossy(text).into_owned()))
            .collect()
    }

    /// Returns the elements of a NumPy array of bytes in row-major order.
    pub(super) fn elements(&self, value: Value) -> Option<Cow<'a, [u8]>> {
        let (shape, bytes) = match value {
            Value::Filled(state) => match self.lists[state][..] {
                [_, shape, Value::Type(true), Value::Bool(false), bytes] => (shape, bytes),
                _ => return None,
            },
            Value::Buffer(given) => match self.lists[given][..] {
                [bytes, Value::Type(true), shape, Value::Text(b"C")] => (shape, bytes),
                _ => return None,
            },
            _ => return None,
        };
        let bytes = match bytes {
            Value::Text(bytes) => Cow::Borrowed(bytes),
            Value::Latin(text) => {
                let characters = std::str::from_utf8(text).ok()?.chars();
                let bytes: Option<Vec<u8>> = characters.map(|c| u8::try_from(c).ok()).collect();
                Cow::Owned(bytes?)
            }
            _ => return None,
        };
        let sides = self.integers(shape)?;
        let elements = sides.into_iter().try_fold(1_i64, i64::checked_mul);
        (elements == i64::try_from(bytes.len()).ok()).then_some(bytes)
    }
}

/// Whether bytes begin like a pickle of protocol 2 or later.
pub(super) fn is_pickle(bytes: &[u8]) -> bool {
    matches!(bytes, [0x80, 2..=5, ..])
}

/// Reads a pickle. `file` names it in errors.
pub(super) fn read<'a>(bytes: &'a [u8], file: &str) -> Result<Pickle<'a>> {
    let mut reader = Reader {
        bytes,
        at: 0,
        lists: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    for _ in 0..MAX_STEPS {
        match reader.step() {
            Some(Step::Next) => {}
            Some(Step::End(top)) => {
                let lists = reader.lists;
                return Ok(Pickle { top, lists });
            }
            None => {
                return Err(Error::invalid(format!(
                    "{file} is not a pickle of dictionaries, lists and byte arrays (the instruction before byte {} is not supported)",
                    reader.at
                )));
            }
        }
    }
    Err(Error::unsupported(format!(
        "{file} is a pickle with more than {MAX_STEPS} instructions, more than a batch of pictures needs"
    )))
}

/// The result of an instruction.
enum Step<'a> {
    Next,
    End(Value<'a>),
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    lists: Vec<Vec<Value<'a>>>,
    stack: Vec<Value<'a>>,
    marks: Vec<usize>,
    memo: HashMap<usize, Value<'a>>,
}

impl<'a> Reader<'a> {
    /// Executes one instruction. Returns `None` if the pickle is broken or does something unsupported.
    fn step(&mut self) -> Option<Step<'a>> {
        match self.byte()? {
            0x80 => _ = self.byte()?,
            0x95 => _ = self.take(8)?,
            b'.' => return self.stack.pop().map(Step::End),
            b'(' => self.marks.push(self.stack.len()),
            b'}' => {
                let list = self.list(Vec::new());
                self.stack.push(Value::Dict(list));
            }
            b']' | b')' => self.push_list(Vec::new()),
            b'N' => self.stack.push(Value::None),
            flag @ (0x88 | 0x89) => self.stack.push(Value::Bool(flag == 0x88)),
            b'K' => {
                let value = self.byte()?;
                self.stack.push(Value::Int(value.into()));
            }
            b'M' => {
                let value = u16::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(value.into()));
            }
            b'J' => {
                let value = i32::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(value.into()));
            }
            b'U' | b'C' | 0x8c => {
                let length = self.byte()?;
                self.text(length.into())?;
            }
            b'T' | b'B' | b'X' => {
                let length = u32::from_le_bytes(self.array()?);
                self.text(length as usize)?;
            }
            0x8d | 0x8e | 0x96 => {
                let length = u64::from_le_bytes(self.array()?);
                self.text(usize::try_from(length).ok()?)?;
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
                self.append([value])?;
            }
            b'e' => {
                let values = self.marked()?;
                self.append(values)?;
            }
            b's' => {
                let (value, key) = (self.stack.pop()?, self.stack.pop()?);
                self.set([key, value])?;
            }
            b'u' => {
                let values = self.marked()?;
                if values.len() % 2 == 1 {
                    return None;
                }
                self.set(values)?;
            }
            b't' => {
                let values = self.marked()?;
                self.push_list(values);
            }
            count @ 0x85..=0x87 => {
                let from = self.stack.len().checked_sub(usize::from(count - 0x84))?;
                let values = self.stack.split_off(from);
                self.push_list(values);
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                let function = Function::named(module, name);
                self.stack.push(Value::Function(function));
            }
            0x93 => {
                let (name, module) = (self.stack.pop()?, self.stack.pop()?);
                let (Value::Text(name), Value::Text(module)) = (name, module) else {
                    return None;
                };
                let function = Function::named(module, name);
                self.stack.push(Value::Function(function));
            }
            b'R' => self.make()?,
            b'b' => self.fill()?,
            _ => return None,
        }
        Some(Step::Next)
    }

    fn list(&mut self, values: Vec<Value<'a>>) -> usize {
        self.lists.push(values);
        self.lists.len() - 1
    }

    fn push_list(&mut self, values: Vec<Value<'a>>) {
        let list = self.list(values);
        self.stack.push(Value::List(list));
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
        let text = self.take(length)?;
        self.stack.push(Value::Text(text));
        Some(())
    }

    fn line(&mut self) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.at..)?;
        let length = rest.iter().position(|&byte| byte == b'\n')?;
        let line = self.take(length)?;
        self.at += 1;
        Some(line)
    }

    fn marked(&mut self) -> Option<Vec<Value<'a>>> {
        let from = self.marks.pop()?;
        (from <= self.stack.len()).then(|| self.stack.split_off(from))
    }

    fn remember(&mut self, slot: usize) -> Option<()> {
        self.memo.insert(slot, *self.stack.last()?);
        Some(())
    }

    fn recall(&mut self, slot: usize) -> Option<()> {
        self.stack.push(*self.memo.get(&slot)?);
        Some(())
    }

    fn append(&mut self, values: impl IntoIterator<Item = Value<'a>>) -> Option<()> {
        let Value::List(list) = *self.stack.last()? else {
            return None;
        };
        self.lists[list].extend(values);
        Some(())
    }

    /// Adds alternating keys and values.
    fn set(&mut self, values: impl IntoIterator<Item = Value<'a>>) -> Option<()> {
        let Value::Dict(list) = *self.stack.last()? else {
            return None;
        };
        self.lists[list].extend(values);
        Some(())
    }

    /// Evaluates a call of NumPy's constructors of arrays and types, or of the encoder that protocol 2 writes bytes
    /// with.
    fn make(&mut self) -> Option<()> {
        let (arguments, function) = (self.stack.pop()?, self.stack.pop()?);
        let (Value::List(arguments), Value::Function(function)) = (arguments, function) else {
            return None;
        };
        let first = self.lists[arguments].first();
        let made = match (function, first) {
            (Function::Encode, Some(Value::Text(text))) => Value::Latin(text),
            (Function::Reconstruct, _) => Value::Unfilled,
            (Function::FromBuffer, _) => Value::Buffer(arguments),
            (Function::Type, Some(Value::Text(name))) => {
                Value::Type(matches!(*name, b"u1" | b"|u1"))
            }
            _ => return None,
        };
        self.stack.push(made);
        Some(())
    }

    /// Sets the state of an object: shape, type and bytes of an array. The state of a type does not matter.
    fn fill(&mut self) -> Option<()> {
        let (state, made) = (self.stack.pop()?, self.stack.pop()?);
        let filled = match (made, state) {
            (Value::Type(_), _) => made,
            (Value::Unfilled, Value::List(state)) => Value::Filled(state),
            _ => return None,
        };
        self.stack.push(filled);
        Some(())
    }
}
