//! The pickle machine: executes the instructions of protocols 2 to 5 and builds a heap of plain values.
//!
//! CPython's `pickletools.py` describes the instructions. Those of protocols 0 and 1, and those that find classes by
//! number, are errors: PyTorch does not write them.

use super::heap::{Heap, Id, MAX_VALUES, Storage, Value};
use super::{broken, calls};
use crate::error::Result;

/// Most instructions.
const MAX_STEPS: usize = 1 << 22;

/// The contents of a pickle.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    heap: Heap<'a>,
    pub(super) root: Id,
    /// Bytes of the pickle.
    pub(super) len: usize,
}

impl<'a> Pickle<'a> {
    /// Runs the pickle at the beginning of `bytes`.
    pub(super) fn load(bytes: &'a [u8]) -> Result<Pickle<'a>> {
        let mut machine = Machine {
            bytes,
            at: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: Vec::new(),
            heap: Heap::default(),
        };
        let root = machine.run().map_err(|e| e.at(&format!("byte {} of the pickle", machine.at)))?;
        Ok(Pickle { heap: machine.heap, root, len: machine.at })
    }

    pub(super) fn get(&self, id: Id) -> &Value<'a> {
        self.heap.get(id)
    }

    /// All storages that the pickle names.
    pub(super) fn storages(&self) -> impl Iterator<Item = Storage<'a>> {
        self.heap.storages()
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Id>,
    /// Heights of the stack at the marks.
    marks: Vec<usize>,
    memo: Vec<Option<Id>>,
    heap: Heap<'a>,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Id> {
        for _ in 0..MAX_STEPS {
            let code = self.byte()?;
            if code == b'.' {
                return self.pop();
            }
            self.step(code)?;
        }
        Err(broken(format!("its pickle has more than {MAX_STEPS} instructions")))
    }

    fn step(&mut self, code: u8) -> Result<()> {
        match code {
            0x80 => match self.byte()? {
                2..=5 => {}
                other => return Err(broken(format!("its pickle is of protocol {other}, expected 2 to 5"))),
            },
            0x95 => drop(self.take(8)?), // frame
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_marked()?),
            b'2' => self.stack.push(self.top()?),

            b'N' => self.push(Value::None)?,
            0x88 => self.push(Value::Bool(true))?,
            0x89 => self.push(Value::Bool(false))?,
            b'J' => self.push_int(4)?,
            b'K' => self.push_unsigned(1)?,
            b'M' => self.push_unsigned(2)?,
            0x8a => self.push_long(1)?,
            0x8b => self.push_long(4)?,
            b'G' => {
                let bytes = self.take(8)?.first_chunk().copied().unwrap_or_default();
                self.push(Value::Float(f64::from_be_bytes(bytes)))?;
            }
            b'X' => self.push_text(4)?,
            0x8c => self.push_text(1)?,
            0x8d => self.push_text(8)?,
            // Python 2's `str` becomes text if it is valid UTF-8.
            b'T' => self.push_bytes(4, true)?,
            b'U' => self.push_bytes(1, true)?,
            b'B' => self.push_bytes(4, false)?,
            b'C' => self.push_bytes(1, false)?,
            0x8e | 0x96 => self.push_bytes(8, false)?,

            b']' | 0x8f => self.push(Value::List(Vec::new()))?,
            b'a' => self.extend_top(1)?,
            b'e' | 0x90 => self.extend_marked()?,
            b'l' | 0x91 => {
                let items = self.pop_marked()?;
                self.push(Value::List(items))?;
            }
            b')' => self.push(Value::Tuple(Vec::new()))?,
            b't' => {
                let items = self.pop_marked()?;
                self.push(Value::Tuple(items))?;
            }
            0x85..=0x87 => {
                let items = self.pop_some(usize::from(code - 0x84))?;
                self.push(Value::Tuple(items))?;
            }
            b'}' => self.push(Value::Dict(Vec::new()))?,
            b'd' => {
                let items = self.pop_marked()?;
                self.push(Value::Dict(pairs(&items)?))?;
            }
            b's' => {
                let items = self.pop_some(2)?;
                self.set_items(&items)?;
            }
            b'u' => {
                let items = self.pop_marked()?;
                self.set_items(&items)?;
            }

            b'q' => self.put(1)?,
            b'r' => self.put(4)?,
            0x94 => self.memoize(self.memo.len())?,
            b'h' => self.get(1)?,
            b'j' => self.get(4)?,

            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Value::Global { module, name })?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (&Value::Text(module), &Value::Text(name)) = (self.heap.get(module), self.heap.get(name))
                else {
                    return Err(broken("a class without a name"));
                };
                self.push(Value::Global { module, name })?;
            }
            b'R' => {
                let (args, function) = (self.pop()?, self.pop()?);
                let made = calls::call(&mut self.heap, function, args)?;
                self.stack.push(made);
            }
            0x81 | 0x92 => {
                if code == 0x92 {
                    self.pop()?; // arguments by name
                }
                let (args, class) = (self.pop()?, self.pop()?);
                let made = calls::instance(&mut self.heap, class, args)?;
                self.stack.push(made);
            }
            b'b' => {
                let (state, object) = (self.pop()?, self.top()?);
                // Attributes of tensors, dicts and numbers hold no weights.
                if let Value::Object(object) = self.heap.get_mut(object) {
                    object.state = Some(state);
                }
            }
            b'Q' => {
                let id = self.pop()?;
                let made = calls::persistent(&mut self.heap, id)?;
                self.stack.push(made);
            }
            other => {
                let text =
                    if other.is_ascii_graphic() { format!(" ({})", other as char) } else { String::new() };
                return Err(broken(format!("PyTorch does not write the instruction {other:#04x}{text}")));
            }
        }
        Ok(())
    }

    // ---- bytes ----

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let bytes = &self.bytes[self.at..];
        let taken = bytes.get(..count).ok_or_else(|| broken("its pickle is cut off (is it complete?)"))?;
        self.at += count;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    /// An unsigned little-endian integer of `bytes` bytes.
    fn unsigned(&mut self, bytes: usize) -> Result<usize> {
        let number = self.take(bytes)?.iter().rev().fold(0u64, |number, &b| number << 8 | u64::from(b));
        Ok(usize::try_from(number).unwrap_or(usize::MAX))
    }

    fn line(&mut self) -> Result<&'a str> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|&b| b == b'\n').ok_or_else(|| broken("a name is not terminated"))?;
        let line = self.take(end + 1)?;
        text(&line[..end])
    }

    // ---- values in ----

    fn push(&mut self, value: Value<'a>) -> Result<()> {
        let id = self.heap.add(value)?;
        self.stack.push(id);
        Ok(())
    }

    fn push_unsigned(&mut self, bytes: usize) -> Result<()> {
        let number = self.unsigned(bytes)?;
        self.push(Value::Int(number as i64))
    }

    /// A signed integer of `bytes` bytes.
    fn push_int(&mut self, bytes: usize) -> Result<()> {
        let bytes = self.take(bytes)?;
        self.push(Value::Int(signed(bytes)))
    }

    /// A signed integer after its length.
    fn push_long(&mut self, length_bytes: usize) -> Result<()> {
        let len = self.unsigned(length_bytes)?;
        let bytes = self.take(len)?;
        self.push(if len <= 8 { Value::Int(signed(bytes)) } else { Value::Long(bytes) })
    }

    fn push_text(&mut self, length_bytes: usize) -> Result<()> {
        let len = self.unsigned(length_bytes)?;
        let text = text(self.take(len)?)?;
        self.push(Value::Text(text))
    }

    fn push_bytes(&mut self, length_bytes: usize, as_text: bool) -> Result<()> {
        let len = self.unsigned(length_bytes)?;
        let bytes = self.take(len)?;
        self.push(match std::str::from_utf8(bytes) {
            Ok(text) if as_text => Value::Text(text),
            _ => Value::Bytes(bytes),
        })
    }

    // ---- values out ----

    /// The height of the stack at the last mark; values below it may not be taken.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Id> {
        match self.stack.last() {
            Some(&id) if self.stack.len() > self.floor() => Ok(id),
            _ => Err(broken("its pickle takes a value from an empty stack")),
        }
    }

    fn pop(&mut self) -> Result<Id> {
        let id = self.top()?;
        self.stack.pop();
        Ok(id)
    }

    fn pop_some(&mut self, count: usize) -> Result<Vec<Id>> {
        match self.stack.len().checked_sub(count) {
            Some(height) if height >= self.floor() => Ok(self.stack.split_off(height)),
            _ => Err(broken("its pickle takes a value from an empty stack")),
        }
    }

    /// Removes everything above the last mark, and the mark.
    fn pop_marked(&mut self) -> Result<Vec<Id>> {
        let mark = self.marks.pop().ok_or_else(|| broken("its pickle goes back to a mark it never set"))?;
        Ok(self.stack.split_off(mark))
    }

    // ---- containers ----

    fn extend_top(&mut self, count: usize) -> Result<()> {
        let items = self.pop_some(count)?;
        let top = self.top()?;
        match self.heap.get_mut(top) {
            Value::List(list) => list.extend(items),
            // A subclass of list.
            Value::Object(_) => {}
            other => return Err(broken(format!("its pickle appends to {}", other.kind()))),
        }
        Ok(())
    }

    fn extend_marked(&mut self) -> Result<()> {
        let count = self.stack.len() - self.floor();
        self.marks.pop().ok_or_else(|| broken("its pickle goes back to a mark it never set"))?;
        self.extend_top(count)
    }

    fn set_items(&mut self, items: &[Id]) -> Result<()> {
        let new = pairs(items)?;
        let top = self.top()?;
        match self.heap.get_mut(top) {
            Value::Dict(dict) => dict.extend(new),
            // A subclass of dict.
            Value::Object(_) => {}
            other => return Err(broken(format!("its pickle sets an item of {}", other.kind()))),
        }
        Ok(())
    }

    // ---- memo ----

    fn memoize(&mut self, place: usize) -> Result<()> {
        let top = self.top()?;
        if place >= MAX_VALUES {
            return Err(broken(format!("its pickle remembers more than {MAX_VALUES} values")));
        }
        if place >= self.memo.len() {
            self.memo.resize(place + 1, None);
        }
        self.memo[place] = Some(top);
        Ok(())
    }

    fn put(&mut self, bytes: usize) -> Result<()> {
        let place = self.unsigned(bytes)?;
        self.memoize(place)
    }

    fn get(&mut self, bytes: usize) -> Result<()> {
        let place = self.unsigned(bytes)?;
        let id = self.memo.get(place).copied().flatten();
        self.stack.push(id.ok_or_else(|| broken("its pickle recalls a value that it never remembered"))?);
        Ok(())
    }
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| broken("a string is not UTF-8"))
}

/// A little-endian two's complement integer of at most 8 bytes.
fn signed(bytes: &[u8]) -> i64 {
    let negative = bytes.last().is_some_and(|&b| b >= 128);
    bytes.iter().rev().fold(if negative { -1 } else { 0 }, |number, &b| number << 8 | i64::from(b))
}

fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>> {
    match items.as_chunks::<2>() {
        (pairs, []) => Ok(pairs.iter().map(|&[key, value]| (key, value)).collect()),
        _ => Err(broken("a key without a value")),
    }
}
