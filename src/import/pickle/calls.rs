//! The calls that a pickle may make: constructors of plain data. No code of the file runs. Any other call is an error
//! that names it.

use super::broken;
use super::heap::{Heap, Id, Object, Storage, Value, View};
use crate::error::{Error, Result};
use ::safetensors::Dtype;

/// Most axes of a tensor.
const MAX_RANK: usize = 8;

/// The result of a call.
enum Made {
    /// A tensor from storage, offset, shape and strides.
    Tensor,
    /// The same with the dtype as the seventh argument.
    TypedTensor,
    /// The tensor that the function in the first argument makes of the third.
    Inner,
    /// The first argument, or an empty list.
    First,
    Dict,
    /// A record of the function and its arguments.
    Object,
}

/// The list of known calls.
fn made(module: &str, name: &str) -> Option<Made> {
    Some(match (module, name) {
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Made::Tensor,
        ("torch._utils", "_rebuild_tensor_v3") => Made::TypedTensor,
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Made::First,
        ("torch._tensor", "_rebuild_from_type_v2") => Made::Inner,
        (
            "torch.jit._pickle",
            "build_intlist" | "build_doublelist" | "build_boollist" | "build_tensorlist" | "restore_type_tag",
        ) => Made::First,
        ("torch", "Size") => Made::First,
        ("builtins" | "__builtin__", "set" | "frozenset" | "list" | "tuple") => Made::First,
        // Bytes, as protocol 2 writes them: text with one Latin-1 character for each byte.
        ("_codecs", "encode") => Made::First,
        ("collections", "OrderedDict" | "defaultdict" | "Counter") | ("builtins" | "__builtin__", "dict") => {
            Made::Dict
        }
        ("numpy", "dtype" | "ndarray")
        | ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct" | "scalar")
        | ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer")
        | ("torch", "device" | "Generator")
        | ("torch.serialization", "_get_layout")
        | ("torch.torch_version", "TorchVersion")
        | ("argparse", "Namespace")
        | ("types", "SimpleNamespace")
        | ("collections", "deque")
        | ("copyreg" | "copy_reg", "_reconstructor")
        | ("builtins" | "__builtin__", "bytearray" | "complex" | "getattr" | "range" | "slice")
        | ("functools", "partial")
        | ("datetime", "date" | "datetime" | "time" | "timedelta" | "timezone")
        | ("decimal", "Decimal")
        | ("fractions", "Fraction")
        | ("uuid", "UUID") => Made::Object,
        ("pathlib" | "pathlib._local", name) if name.ends_with("Path") => Made::Object,
        _ => return None,
    })
}

/// Calls `function` with the tuple `args`.
pub(super) fn call<'a>(heap: &mut Heap<'a>, function: Id, args: Id) -> Result<Id> {
    let &Value::Global { module, name } = heap.get(function) else {
        return Err(broken(format!("it calls {}", heap.get(function).kind())));
    };
    let made = made(module, name).ok_or_else(|| {
        Error::Model(format!(
            "the file asks to call {module}.{name}, which is not on the list of data constructors; nothing was run \
             (save the state dict alone: torch.save(net.state_dict(), path))"
        ))
    })?;
    let items = heap.items(args)?;
    match made {
        Made::Tensor => {
            let view = view(heap, items, None).map_err(|e| e.at(name))?;
            heap.add(Value::Tensor(Box::new(view)))
        }
        Made::TypedTensor => {
            let dtype = items.get(6).map(|&id| heap.get(id));
            let Some(&Value::Global { module: "torch", name: dtype }) = dtype else {
                return Err(broken("a tensor without a dtype"));
            };
            let view = view(heap, items, Some(dtype_named(dtype)?)).map_err(|e| e.at(name))?;
            heap.add(Value::Tensor(Box::new(view)))
        }
        Made::Inner => match *items {
            // Only one level: the inner function must itself make tensors.
            [function, _, args, ..] if !is_inner(heap, function) => call(heap, function, args),
            _ => Err(broken("a tensor of a type without a constructor")),
        },
        Made::First => match items.first() {
            Some(&first) => Ok(first),
            None => heap.add(Value::List(Vec::new())),
        },
        Made::Dict => {
            let pairs = pairs(heap, items);
            heap.add_copy(pairs)
        }
        Made::Object => heap.add(Value::Object(Box::new(Object { module, name, args, state: None }))),
    }
}

/// An instance of `class` as the file describes it: a record of attributes for any class.
pub(super) fn instance<'a>(heap: &mut Heap<'a>, class: Id, args: Id) -> Result<Id> {
    match *heap.get(class) {
        Value::Global { module: "collections", name: "OrderedDict" } => heap.add(Value::Dict(Vec::new())),
        Value::Global { module, name } => {
            heap.add(Value::Object(Box::new(Object { module, name, args, state: None })))
        }
        ref other => Err(broken(format!("an instance of {}", other.kind()))),
    }
}

/// The value of a persistent id: a storage or, in files of whole modules, a class with its source text.
pub(super) fn persistent<'a>(heap: &mut Heap<'a>, id: Id) -> Result<Id> {
    let items = heap.items(id)?;
    match items.first().map(|&kind| heap.get(kind)) {
        Some(Value::Text("storage")) => {
            let storage = storage(heap, items)?;
            heap.add(Value::Storage(Box::new(storage)))
        }
        Some(Value::Text("module")) if items.len() > 1 => Ok(items[1]),
        _ => Err(broken("a persistent id that is neither a storage nor a module")),
    }
}

/// From kind, type, key, device, length and, in old files, a view into another storage. The length of the bytes in the
/// file counts.
fn storage<'a>(heap: &Heap<'a>, items: &[Id]) -> Result<Storage<'a>> {
    let [_, class, key, ..] = items[..] else { return Err(broken("a storage without a type and a key")) };
    let (&Value::Global { module, name }, &Value::Text(key)) = (heap.get(class), heap.get(key)) else {
        return Err(broken("a storage without a type and a key"));
    };
    let dtype = match (module, name) {
        ("torch" | "torch.cuda", "DoubleStorage") => Dtype::F64,
        ("torch" | "torch.cuda", "FloatStorage") => Dtype::F32,
        ("torch" | "torch.cuda", "HalfStorage") => Dtype::F16,
        ("torch" | "torch.cuda", "BFloat16Storage") => Dtype::BF16,
        ("torch" | "torch.cuda", "LongStorage") => Dtype::I64,
        ("torch" | "torch.cuda", "IntStorage") => Dtype::I32,
        ("torch" | "torch.cuda", "ShortStorage") => Dtype::I16,
        ("torch" | "torch.cuda", "CharStorage") => Dtype::I8,
        ("torch" | "torch.cuda", "ByteStorage") => Dtype::U8,
        ("torch" | "torch.cuda", "BoolStorage") => Dtype::BOOL,
        ("torch" | "torch.cuda", "ComplexFloatStorage") => Dtype::C64,
        ("torch.storage", "UntypedStorage") => Dtype::U8,
        _ => return Err(broken(format!("a storage of type {module}.{name}, which is not supported"))),
    };
    let offset = match items.get(5).map(|&part| heap.get(part)) {
        Some(Value::Tuple(part)) if part.len() == 3 => whole(heap, part[1])? as u64,
        _ => 0,
    };
    Ok(Storage { key, dtype, offset })
}

/// A tensor. All of its elements are inside its storage.
fn view<'a>(heap: &Heap<'a>, items: &[Id], dtype: Option<Dtype>) -> Result<View<'a>> {
    let [storage, offset, shape, strides, ..] = items[..] else {
        return Err(broken("a tensor without strides"));
    };
    let Value::Storage(storage) = heap.get(storage) else {
        return Err(broken(format!("a tensor in {}", heap.get(storage).kind())));
    };
    let list = |id| heap.items(id)?.iter().map(|&i| whole(heap, i)).collect::<Result<Vec<_>>>();
    if heap.items(shape)?.len().max(heap.items(strides)?.len()) > MAX_RANK {
        return Err(broken(format!("a tensor of more than {MAX_RANK} axes")));
    }
    let (shape, strides) = (list(shape)?, list(strides)?);
    if shape.len() != strides.len() {
        return Err(broken(format!("a tensor of {} axes with {} strides", shape.len(), strides.len())));
    }
    Ok(View {
        storage: **storage,
        dtype: dtype.unwrap_or(storage.dtype),
        offset: whole(heap, offset)?,
        shape,
        strides,
    })
}

fn whole(heap: &Heap<'_>, id: Id) -> Result<usize> {
    match heap.get(id) {
        Value::Int(number) => usize::try_from(*number)
            .map_err(|_| broken(format!("expected a whole number from 0, got {number}"))),
        other => Err(broken(format!("expected a whole number from 0, got {}", other.kind()))),
    }
}

fn dtype_named(name: &str) -> Result<Dtype> {
    Ok(match name {
        "float64" | "double" => Dtype::F64,
        "float32" | "float" => Dtype::F32,
        "float16" | "half" => Dtype::F16,
        "bfloat16" => Dtype::BF16,
        "uint16" => Dtype::U16,
        "uint32" => Dtype::U32,
        "uint64" => Dtype::U64,
        "float8_e4m3fn" => Dtype::F8_E4M3,
        "float8_e5m2" => Dtype::F8_E5M2,
        other => return Err(broken(format!("a tensor of dtype {other}, which is not supported"))),
    })
}

fn is_inner(heap: &Heap<'_>, function: Id) -> bool {
    matches!(heap.get(function), Value::Global { module, name } if matches!(made(module, name), Some(Made::Inner)))
}

/// The pairs that an ordered dict of Python 2 was made from. Newer versions set the pairs later.
fn pairs(heap: &Heap<'_>, items: &[Id]) -> Vec<(Id, Id)> {
    let pairs = items.first().and_then(|&first| heap.items(first).ok()).unwrap_or(&[]);
    pairs
        .iter()
        .filter_map(|&pair| <[Id; 2]>::try_from(heap.items(pair).ok()?).ok())
        .map(|[k, v]| (k, v))
        .collect()
}
