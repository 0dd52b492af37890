//! Computes nodes whose operands are all constant. Since the input size is known, this includes everything that
//! exporters write about shapes.

use super::array::{Array, Kind, room};
use super::node::{Reader, axis, extent};
use super::view::{View, broadcast};
use crate::error::{Error, Result};

/// The results of a node on constants; `None` for operators that are only computed on a device. An absent operand is
/// `None`.
pub(super) fn evaluate(reader: &Reader<'_>, operands: &[Option<Array>]) -> Result<Option<Vec<Array>>> {
    let operand = |i: usize| {
        let missing = || Error::Model(format!("operand {i} is missing"));
        operands.get(i).and_then(Option::as_ref).ok_or_else(missing)
    };
    let unary = |kind: fn(Kind) -> Kind, f: &dyn Fn(f64) -> f64| {
        let x = operand(0)?;
        x.mapped(kind(x.kind), f)
    };
    let same = |kind: Kind| kind;
    let truth = |_: Kind| Kind::Bool;
    let result = match reader.op() {
        "Neg" => unary(same, &|v| -v)?,
        "Abs" => unary(same, &f64::abs)?,
        "Floor" => unary(same, &f64::floor)?,
        "Ceil" => unary(same, &f64::ceil)?,
        "Round" => unary(same, &f64::round_ties_even)?,
        "Sqrt" => unary(same, &f64::sqrt)?,
        "Exp" => unary(same, &f64::exp)?,
        "Log" => unary(same, &f64::ln)?,
        "Reciprocal" => unary(same, &|v| 1.0 / v)?,
        "Sin" => unary(same, &f64::sin)?,
        "Cos" => unary(same, &f64::cos)?,
        "Tanh" => unary(same, &f64::tanh)?,
        "Sigmoid" => unary(same, &|v| 1.0 / (1.0 + (-v).exp()))?,
        "Relu" => unary(same, &|v| if v < 0.0 { 0.0 } else { v })?,
        "Sign" => unary(same, &|v| if v == 0.0 { 0.0 } else { v.signum() })?,
        "Not" => unary(truth, &|v| f64::from(v == 0.0))?,
        "IsNaN" => unary(truth, &|v| f64::from(v.is_nan()))?,
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Mod" | "PRelu" => {
            let (a, b) = (operand(0)?, operand(1)?);
            let whole = a.kind == Kind::Integer && b.kind == Kind::Integer;
            let fmod = reader.int("fmod", 0) != 0;
            let f: &dyn Fn(f64, f64) -> f64 = match reader.op() {
                "Add" => &|a, b| a + b,
                "Sub" => &|a, b| a - b,
                "Mul" => &|a, b| a * b,
                "Div" if whole => &|a, b| (a / b).trunc(),
                "Div" => &|a, b| a / b,
                "Mod" if fmod => &|a, b| a % b,
                "Mod" => &|a, b| a - (a / b).floor() * b,
                "PRelu" => &|a, b| if a < 0.0 { a * b } else { a },
                _ => &f64::powf,
            };
            if whole && matches!(reader.op(), "Div" | "Mod") && b.numbers().contains(&0.0) {
                return Err(Error::Model("division by zero".into()));
            }
            binary(a, b, a.kind, f)?
        }
        "Min" | "Max" => {
            let f: &dyn Fn(f64, f64) -> f64 = if reader.op() == "Min" { &f64::min } else { &f64::max };
            let mut all = operand(0)?.clone();
            for i in 1..operands.len() {
                all = binary(&all, operand(i)?, all.kind, f)?;
            }
            all
        }
        "Equal" => binary(operand(0)?, operand(1)?, Kind::Bool, &|a, b| f64::from(a == b))?,
        "Less" => binary(operand(0)?, operand(1)?, Kind::Bool, &|a, b| f64::from(a < b))?,
        "LessOrEqual" => binary(operand(0)?, operand(1)?, Kind::Bool, &|a, b| f64::from(a <= b))?,
        "Greater" => binary(operand(0)?, operand(1)?, Kind::Bool, &|a, b| f64::from(a > b))?,
        "GreaterOrEqual" => binary(operand(0)?, operand(1)?, Kind::Bool, &|a, b| f64::from(a >= b))?,
        "And" => binary(operand(0)?, operand(1)?, Kind::Bool, &|a, b| f64::from(a != 0.0 && b != 0.0))?,
        "Or" => binary(operand(0)?, operand(1)?, Kind::Bool, &|a, b| f64::from(a != 0.0 || b != 0.0))?,
        "Xor" => binary(operand(0)?, operand(1)?, Kind::Bool, &|a, b| f64::from((a != 0.0) != (b != 0.0)))?,
        "Where" => {
            let (condition, a, b) = (operand(0)?, operand(1)?, operand(2)?);
            // a if the condition holds: chosen by index, because arithmetic could make NaN.
            let dims = broadcast(&[&condition.dims, &a.dims, &b.dims])?;
            let [c, x, y] = [condition, a, b].map(|v| spread(v, &dims));
            let (c, x, y) = (c?, x?, y?);
            let numbers = c.iter().zip(x.iter().zip(&y)).map(|(&c, (&x, &y))| if c != 0.0 { x } else { y });
            Array::new(dims, a.kind, numbers.collect())?
        }
        "Concat" => {
            let parts = (0..operands.len()).map(operand).collect::<Result<Vec<_>>>()?;
            concat(&parts, axis(reader.int("axis", 0), parts.first().map_or(0, |p| p.dims.len()))?)?
        }
        "Gather" => {
            let (x, indices) = (operand(0)?, operand(1)?);
            gather(x, indices, axis(reader.int("axis", 0), x.dims.len())?)?
        }
        "ConstantOfShape" => {
            let dims = operand(0)?.ints().into_iter().map(extent).collect::<Result<Vec<_>>>()?;
            room(&dims, 0)?;
            let (kind, value) = match reader.tensor("value") {
                Some(tensor) => {
                    let value = super::constants::read(tensor, &mut Default::default())?;
                    (value.kind, value.numbers().first().copied().unwrap_or(0.0))
                }
                None => (Kind::Float, 0.0),
            };
            let count = dims.iter().product();
            Array::new(dims, kind, vec![value; count])?
        }
        "Range" => {
            let one = |i: usize| Ok::<_, Error>(operand(i)?.numbers().first().copied().unwrap_or(0.0));
            let (start, limit, delta) = (one(0)?, one(1)?, one(2)?);
            let count = ((limit - start) / delta).ceil().max(0.0);
            if delta == 0.0 || !count.is_finite() {
                return Err(Error::shape("range", "a step other than 0", delta));
            }
            room(&[count as usize], 0)?;
            let numbers: Vec<f64> = (0..count as usize).map(|i| start + i as f64 * delta).collect();
            Array::new(vec![numbers.len()], operand(0)?.kind, numbers)?
        }
        "ReduceProd" | "ReduceSum" | "ReduceMax" | "ReduceMin" | "ReduceMean" => {
            let x = operand(0)?;
            let axes = match (operands.get(1).and_then(Option::as_ref), reader.ints("axes")) {
                (Some(axes), _) => axes.ints(),
                (None, Some(axes)) => axes,
                (None, None) => (0..x.dims.len() as i64).collect(),
            };
            let axes = axes.into_iter().map(|a| axis(a, x.dims.len())).collect::<Result<Vec<_>>>()?;
            reduce(x, &axes, reader.int("keepdims", 1) != 0, reader.op())?
        }
        _ => return Ok(None),
    };
    Ok(Some(vec![result]))
}

/// The kind for a number in ONNX's list of types.
pub(super) fn kind(number: i64) -> Option<Kind> {
    match number {
        1 | 10 | 11 | 16 => Some(Kind::Float),
        2..=7 | 12 | 13 => Some(Kind::Integer),
        9 => Some(Kind::Bool),
        _ => None,
    }
}

/// The numbers of a constant, broadcast to these extents.
fn spread(x: &Array, dims: &[usize]) -> Result<Vec<f64>> {
    Ok(x.viewed(&View::whole(&x.dims).expanded(dims)?)?.numbers().into_owned())
}

fn binary(a: &Array, b: &Array, kind: Kind, f: &dyn Fn(f64, f64) -> f64) -> Result<Array> {
    let dims = broadcast(&[&a.dims, &b.dims])?;
    let (a, b) = (spread(a, &dims)?, spread(b, &dims)?);
    Array::new(dims, kind, a.iter().zip(&b).map(|(&a, &b)| f(a, b)).collect())
}

/// Number of elements before an axis, along it and after it.
fn around(dims: &[usize], axis: usize) -> [usize; 3] {
    [dims[..axis].iter().product(), dims[axis], dims[axis + 1..].iter().product()]
}

fn concat(parts: &[&Array], axis: usize) -> Result<Array> {
    let Some(first) = parts.first() else { return Err(Error::shape("concat", "operands", "none")) };
    let mut dims = first.dims.clone();
    let alike = |part: &&&Array| {
        part.dims.len() == dims.len() && (0..dims.len()).all(|i| i == axis || part.dims[i] == dims[i])
    };
    if let Some(part) = parts.iter().find(|part| !alike(part)) {
        return Err(Error::shape(
            "concat",
            format!("{dims:?} but for axis {axis}"),
            format!("{:?}", part.dims),
        ));
    }
    dims[axis] = parts.iter().map(|part| part.dims[axis]).sum();
    room(&dims, parts.iter().map(|p| p.len()).sum())?;
    let [before, _, _] = around(&dims, axis);
    let all: Vec<_> = parts.iter().map(|part| (part.numbers(), part.len() / before.max(1))).collect();
    let numbers =
        (0..before).flat_map(|i| all.iter().flat_map(move |(n, run)| n[i * run..(i + 1) * run].to_vec()));
    Array::new(dims, first.kind, numbers.collect())
}

fn gather(x: &Array, indices: &Array, axis: usize) -> Result<Array> {
    let [before, along, behind] = around(&x.dims, axis);
    let dims = [&x.dims[..axis], &indices.dims, &x.dims[axis + 1..]].concat();
    room(&dims, x.len())?;
    let places =
        indices.ints().into_iter().map(|i| super::node::axis(i, along)).collect::<Result<Vec<_>>>()?;
    let starts = (0..before).flat_map(|i| places.iter().map(move |&place| (i * along + place) * behind));
    x.picked(dims, starts.flat_map(|start| start..start + behind))
}

fn reduce(x: &Array, axes: &[usize], keep: bool, op: &str) -> Result<Array> {
    let mut order: Vec<usize> = (0..x.dims.len()).filter(|a| !axes.contains(a)).collect();
    let kept: Vec<usize> = order.iter().map(|&a| x.dims[a]).collect();
    let count: usize = x.dims.iter().enumerate().filter(|(a, _)| axes.contains(a)).map(|(_, &d)| d).product();
    order.extend((0..x.dims.len()).filter(|a| axes.contains(a)));
    let moved = x.viewed(&View::whole(&x.dims).permuted(&order)?)?;
    let numbers = moved.numbers();
    let fold = |part: &[f64]| match op {
        "ReduceProd" => part.iter().product(),
        "ReduceMax" => part.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        "ReduceMin" => part.iter().copied().fold(f64::INFINITY, f64::min),
        "ReduceMean" => part.iter().sum::<f64>() / part.len() as f64,
        _ => part.iter().sum(),
    };
    let results = numbers.chunks(count.max(1)).map(fold).collect();
    let with_ones = || (0..x.dims.len()).map(|a| if axes.contains(&a) { 1 } else { x.dims[a] }).collect();
    Array::new(if keep { with_ones() } else { kept }, x.kind, results)
}
