//! Computes nodes whose operands are all constant. Since the input size is known, this includes everything that
//! exporters write about shapes.

pub(super) mod places;
pub(super) mod quantised;

use super::array::{Array, Kind, room};
use super::node::{Reader, axis, extent};
use super::view::{View, broadcast};
use crate::error::{Error, Result};

/// The results of a node on constants; `None` for operators that are not computed here. An absent operand is `None`.
pub(super) fn evaluate(reader: &Reader<'_>, operands: &[Option<Array>]) -> Result<Option<Vec<Array>>> {
    let operand = |i: usize| {
        let missing = || Error::Model(format!("operand {i} is missing"));
        operands.get(i).and_then(Option::as_ref).ok_or_else(missing)
    };
    let unary = |kind: fn(Kind) -> Kind, f: &dyn Fn(f64) -> f64| {
        let x = operand(0)?;
        x.mapped(kind(x.kind), f)
    };
    let given = |i: usize| operands.get(i).and_then(Option::as_ref);
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
        "IsInf" => {
            let [below, above] = ["detect_negative", "detect_positive"].map(|name| reader.int(name, 1) != 0);
            unary(truth, &|v| f64::from(v.is_infinite() && if v < 0.0 { below } else { above }))?
        }
        "IsNaN" => unary(truth, &|v| f64::from(v.is_nan()))?,
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Mod" | "PRelu" => {
            let (a, b) = (operand(0)?, operand(1)?);
            let whole = a.kind.is_whole() && b.kind.is_whole();
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
        "Min" | "Max" | "Sum" | "Mean" => {
            let f: &dyn Fn(f64, f64) -> f64 = match reader.op() {
                "Min" => &f64::min,
                "Max" => &f64::max,
                _ => &|a, b| a + b,
            };
            let mut all = operand(0)?.clone();
            for i in 1..operands.len() {
                all = binary(&all, operand(i)?, all.kind, f)?;
            }
            match reader.op() {
                "Mean" => all.mapped(all.kind, |v| v / operands.len() as f64)?,
                _ => all,
            }
        }
        "Clip" => {
            let number = |array: &Array| array.numbers().first().copied();
            let bound = |i: usize, name: &str, none: f64| match given(i).and_then(number) {
                Some(bound) => bound,
                None if reader.has(name) => f64::from(reader.float(name, 0.0)),
                None => none,
            };
            let (min, max) = (bound(1, "min", f64::NEG_INFINITY), bound(2, "max", f64::INFINITY));
            // The upper bound wins if they cross.
            unary(same, &|v| v.max(min).min(max))?
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
            room(&dims, a.len().max(b.len()))?;
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
            places::gather(x, indices, axis(reader.int("axis", 0), x.dims.len())?)?
        }
        "GatherND" => places::gather_nd(operand(0)?, operand(1)?, extent(reader.int("batch_dims", 0))?)?,
        "GatherElements" => {
            let x = operand(0)?;
            places::gather_elements(x, operand(1)?, axis(reader.int("axis", 0), x.dims.len())?)?
        }
        "ScatterND" | "ScatterElements" | "Scatter" => {
            places::scatter(reader, operand(0)?, operand(1)?, operand(2)?)?
        }
        "OneHot" => places::one_hot(reader, operand(0)?, operand(1)?, operand(2)?)?,
        "NonZero" => places::non_zero(operand(0)?)?,
        "TopK" => return places::top_k(reader, operand(0)?, given(1)).map(Some),
        "ArgMax" | "ArgMin" => places::extreme(reader, operand(0)?)?,
        "CumSum" => places::cum_sum(reader, operand(0)?, operand(1)?)?,
        "Trilu" => places::triangle(reader, operand(0)?, given(1))?,
        "Pad" => places::pad(reader, operands)?,
        "DequantizeLinear" => quantised::dequantised(reader, [0, 1, 2].map(given))?,
        "QuantizeLinear" => quantised::quantised(reader, [0, 1, 2].map(given))?,
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
        "ReduceProd" | "ReduceSum" | "ReduceMax" | "ReduceMin" | "ReduceMean" | "ReduceL1" | "ReduceL2"
        | "ReduceSumSquare" => {
            let x = operand(0)?;
            let axes = match (operands.get(1).and_then(Option::as_ref), reader.ints("axes")) {
                (Some(axes), _) if axes.len() > 0 => axes.ints(),
                (None, Some(axes)) if !axes.is_empty() => axes,
                _ if reader.int("noop_with_empty_axes", 0) != 0 => return Ok(Some(vec![x.clone()])),
                _ => (0..x.dims.len() as i64).collect(),
            };
            let axes = axes.into_iter().map(|a| axis(a, x.dims.len())).collect::<Result<Vec<_>>>()?;
            reduce(x, &axes, reader.int("keepdims", 1) != 0, reader.op())?
        }
        _ => return Ok(None),
    };
    Ok(Some(vec![result]))
}

/// The numbers of a constant, broadcast to these extents.
fn spread(x: &Array, dims: &[usize]) -> Result<Vec<f64>> {
    let (numbers, view) = (x.numbers(), View::whole(&x.dims).expanded(dims)?);
    Ok(match view.is_whole(x.len()) {
        true => numbers.into_owned(),
        false => view.indices().map(|i| numbers[i]).collect(),
    })
}

pub(super) fn binary(a: &Array, b: &Array, kind: Kind, f: &dyn Fn(f64, f64) -> f64) -> Result<Array> {
    let dims = broadcast(&[&a.dims, &b.dims])?;
    room(&dims, a.len().max(b.len()))?;
    let (x, y) = (spread(a, &dims)?, spread(b, &dims)?);
    let results = x.iter().zip(&y).map(|(&x, &y)| f(x, y));
    match kind == Kind::Float && (a.is_single() || b.is_single()) {
        true => Array::of_floats(dims, results.map(|v| v as f32).collect()),
        false => Array::new(dims, kind, results.collect()),
    }
}

/// Number of elements before an axis, along it and after it.
fn around(dims: &[usize], axis: usize) -> [usize; 3] {
    [dims[..axis].iter().product(), dims[axis], dims[axis + 1..].iter().product()]
}

pub(super) fn concat(parts: &[&Array], axis: usize) -> Result<Array> {
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
        "ReduceL1" => part.iter().map(|v| v.abs()).sum(),
        "ReduceL2" => part.iter().map(|v| v * v).sum::<f64>().sqrt(),
        "ReduceSumSquare" => part.iter().map(|v| v * v).sum(),
        _ => part.iter().sum(),
    };
    let results = numbers.chunks(count.max(1)).map(fold).collect();
    let with_ones = || (0..x.dims.len()).map(|a| if axes.contains(&a) { 1 } else { x.dims[a] }).collect();
    Array::new(if keep { with_ones() } else { kept }, x.kind, results)
}

#[cfg(test)]
mod tests {
    use super::super::array::{MOST, Narrow};
    use super::*;

    #[test]
    fn numbers_meet_weights_of_any_size() {
        let many = MOST + 1;
        let weights = Array::of_narrow(vec![many], Narrow::U8, vec![130.0; many]).unwrap();
        let less =
            binary(&weights, &Array::scalar(Kind::Integer, 127.0), Kind::Float, &|a, b| a - b).unwrap();
        assert!(less.is_single() && less.floats().iter().all(|&v| v == 3.0));
        // A few bytes cannot ask for that much.
        let row = Array::of_floats(vec![1, 4096], vec![1.0; 4096]).unwrap();
        let column = Array::of_floats(vec![4096, 1], vec![1.0; 4096]).unwrap();
        assert!(binary(&row, &column, Kind::Float, &|a, b| a + b).is_err());
    }

    #[test]
    fn narrow_numbers_keep_their_bits() {
        for (bits, signed, raw, want) in [
            (4, false, [0x21, 0xf3], vec![1.0, 2.0, 3.0, 15.0]),
            (4, true, [0x8f, 0x07], vec![-1.0, -8.0, 7.0, 0.0]),
            (2, true, [0b11_10_01_00, 0], vec![0.0, 1.0, -2.0, -1.0]),
            (16, true, [0xff, 0xff], vec![-1.0]),
        ] {
            let narrow = Narrow { bits, signed };
            assert_eq!(narrow.unpacked(&raw, want.len()), want);
            let array = Array::of_narrow(vec![want.len()], narrow, want.clone()).unwrap();
            let read = super::super::constants::read(&array.proto("a"), &mut Default::default()).unwrap();
            assert_eq!((read.kind, read.floats().into_owned()), (array.kind, want));
        }
    }
}
