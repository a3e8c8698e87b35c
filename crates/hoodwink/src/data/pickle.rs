//! Python's pickles, as far as CIFAR's batches need them: dictionaries, lists, numbers, text and NumPy arrays of bytes.
//!
//! A pickle is a program. This reader builds values and nothing else: the functions that a pickle names are compared with
//! the few that make arrays, and never called. As in Python a list or dictionary is one thing however often it is mentioned,
//! so values are numbers of lists and parts of the file, and nothing is copied, compared or followed before it is asked for:
//! time and memory are those of the file, whatever its values hold.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::error::{Error, Result};

/// The most instructions that are carried out. A batch has a few for each picture, and a file holds at most 90,000 pictures.
const MAX_STEPS: usize = 1 << 20;

/// A value of a pickle.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// Text or bytes.
    Text(&'a [u8]),
    /// Text whose characters stand for bytes, as protocol 2 spells them.
    Latin(&'a [u8]),
    /// A list or tuple, by its number.
    List(usize),
    /// A dictionary, by the number of the list in which keys and values take turns.
    Dict(usize),
    Function(Function),
    /// NumPy's type of elements, and whether it is unsigned bytes.
    Type(bool),
    /// An array before its state is known.
    Unfilled,
    /// An array, by the list with its state.
    Filled(usize),
    /// An array, by the list of what `_frombuffer` was given.
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

/// What a pickle holds.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    top: Value<'a>,
    lists: Vec<Vec<Value<'a>>>,
}

impl<'a> Pickle<'a> {
    /// The value under a key, where the pickle is a dictionary. Of several the last counts, as in Python.
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

    /// The integers of a list.
    pub(super) fn integers(&self, value: Value) -> Option<Vec<i64>> {
        let integer = |value: &Value| match value {
            Value::Int(value) => Some(*value),
            _ => None,
        };
        self.list(value)?.iter().map(integer).collect()
    }

    /// The texts of a list, where they take at most `limit` bytes in all: one text may be mentioned many times.
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

    /// The elements of a NumPy array of bytes, row-major.
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

/// Whether bytes begin as a pickle of protocol 2 or later does.
pub(super) fn is_pickle(bytes: &[u8]) -> bool {
    matches!(bytes, [0x80, 2..=5, ..])
}

/// Reads a pickle; `file` names it in errors.
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
                    "{file} is no pickle of dictionaries, lists and arrays of bytes (what comes before byte {} cannot be read)",
                    reader.at
                )));
            }
        }
    }
    Err(Error::unsupported(format!(
        "{file} is a pickle of more than {MAX_STEPS} instructions, more than a batch of pictures needs"
    )))
}

/// What an instruction leads to.
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
    /// Carries out one instruction; `None` where the pickle is broken or does what is not known.
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

    /// Keys and values in turn.
    fn set(&mut self, values: impl IntoIterator<Item = Value<'a>>) -> Option<()> {
        let Value::Dict(list) = *self.stack.last()? else {
            return None;
        };
        self.lists[list].extend(values);
        Some(())
    }

    /// A call: of `numpy`'s makers of arrays and types, or of the encoder that protocol 2 spells bytes with.
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

    /// The state of what was made: of an array its shape, type and bytes; of a type nothing that matters.
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
