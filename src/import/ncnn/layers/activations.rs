//! Functions of one element, and of two.

use super::{Attribute, Network};
use crate::error::Result;
use crate::import::ncnn::param::Layer;

use Attribute::Float;

impl<'a> Network<'a> {
    /// A value after the activation that a layer's parameters name.
    pub(super) fn activated(&mut self, layer: &Layer<'a>, x: String, key: i64) -> Result<String> {
        let given = layer.array(key + 1);
        let of = |at: usize, default: f64| given.get(at).copied().unwrap_or(default);
        match layer.int(key, 0) {
            0 => Ok(x),
            1 => Ok(self.node(layer, "Relu", &[&x], &[])),
            2 => Ok(self.node(layer, "LeakyRelu", &[&x], &[("alpha", Float(of(0, 0.0) as f32))])),
            3 => self.clip(layer, &x, of(0, f64::from(f32::MIN)), of(1, f64::from(f32::MAX))),
            4 => Ok(self.node(layer, "Sigmoid", &[&x], &[])),
            5 => self.mish(layer, &x),
            6 => Ok(self.hard_swish(layer, &x, of(0, 0.2), of(1, 0.5))),
            other => Err(layer.error(format!("activation {other} is not supported"))),
        }
    }

    /// The layers that are functions of one element.
    pub(super) fn pointwise(&mut self, layer: &Layer<'a>) -> Result<String> {
        let x = self.input(layer, 0)?;
        let simple = |op: &'static str| Ok((op, Vec::new()));
        let float = |op, name, value: f64| Ok((op, vec![(name, Float(value as f32))]));
        let made: Result<(&str, Vec<(&str, Attribute<'_>)>)> = match layer.op {
            "ReLU" if layer.float(0, 0.0) == 0.0 => simple("Relu"),
            "ReLU" => float("LeakyRelu", "alpha", layer.float(0, 0.0)),
            "Sigmoid" => simple("Sigmoid"),
            "TanH" => simple("Tanh"),
            "ELU" => float("Elu", "alpha", layer.float(0, 0.1)),
            "Softplus" => simple("Softplus"),
            "AbsVal" => simple("Abs"),
            "HardSigmoid" => Ok((
                "HardSigmoid",
                vec![
                    ("alpha", Float(layer.float(0, 0.2) as f32)),
                    ("beta", Float(layer.float(1, 0.5) as f32)),
                ],
            )),
            "HardSwish" => return Ok(self.hard_swish(layer, &x, layer.float(0, 0.2), layer.float(1, 0.5))),
            "Mish" => return self.mish(layer, &x),
            "Swish" => {
                let gate = self.node(layer, "Sigmoid", &[&x], &[]);
                return Ok(self.node(layer, "Mul", &[&x, &gate], &[]));
            }
            "GELU" => return self.gelu(layer, &x),
            "Clip" => {
                let (low, high) = (layer.float(0, f64::from(f32::MIN)), layer.float(1, f64::from(f32::MAX)));
                return self.clip(layer, &x, low, high);
            }
            "Dropout" => {
                let scale = self.number(layer, layer.float(0, 1.0))?;
                return Ok(self.node(layer, "Mul", &[&x, &scale], &[]));
            }
            "UnaryOp" => return self.unary(layer, &x),
            "Power" => {
                let [power, scale, shift] = [layer.float(0, 1.0), layer.float(1, 1.0), layer.float(2, 0.0)];
                let mut y = x;
                for (op, value, neutral) in [("Mul", scale, 1.0), ("Add", shift, 0.0), ("Pow", power, 1.0)] {
                    if value != neutral {
                        let value = self.number(layer, value)?;
                        y = self.node(layer, op, &[&y, &value], &[]);
                    }
                }
                return Ok(y);
            }
            _ => Err(layer.error("this kind of layer is not supported")),
        };
        let (op, attributes) = made?;
        Ok(self.node(layer, op, &[&x], &attributes))
    }

    fn unary(&mut self, layer: &Layer<'a>, x: &str) -> Result<String> {
        let op = match layer.int(0, 0) {
            0 => "Abs",
            1 => "Neg",
            2 => "Floor",
            3 => "Ceil",
            4 => return Ok(self.node(layer, "Mul", &[x, x], &[])),
            5 => "Sqrt",
            6 => {
                let root = self.node(layer, "Sqrt", &[x], &[]);
                return Ok(self.node(layer, "Reciprocal", &[&root], &[]));
            }
            7 => "Exp",
            8 => "Log",
            9 => "Sin",
            10 => "Cos",
            15 => "Reciprocal",
            16 => "Tanh",
            18 => "Round",
            other => return Err(layer.error(format!("operation {other} is not supported"))),
        };
        Ok(self.node(layer, op, &[x], &[]))
    }

    fn clip(&mut self, layer: &Layer<'a>, x: &str, low: f64, high: f64) -> Result<String> {
        let [low, high] = [low, high].map(|value| value as f32);
        let (low_name, high_name) = (self.name(layer), self.name(layer));
        let low = self.emit.scalar(low_name, low)?;
        let high = self.emit.scalar(high_name, high)?;
        Ok(self.node(layer, "Clip", &[x, &low, &high], &[]))
    }

    fn hard_swish(&mut self, layer: &Layer<'a>, x: &str, alpha: f64, beta: f64) -> String {
        let attributes = [("alpha", Float(alpha as f32)), ("beta", Float(beta as f32))];
        let gate = self.node(layer, "HardSigmoid", &[x], &attributes);
        self.node(layer, "Mul", &[x, &gate], &[])
    }

    fn mish(&mut self, layer: &Layer<'a>, x: &str) -> Result<String> {
        let y = self.node(layer, "Softplus", &[x], &[]);
        let y = self.node(layer, "Tanh", &[&y], &[]);
        Ok(self.node(layer, "Mul", &[x, &y], &[]))
    }

    /// By the error function, or by tanh where the layer says so.
    fn gelu(&mut self, layer: &Layer<'a>, x: &str) -> Result<String> {
        let [half, one] = [self.number(layer, 0.5)?, self.number(layer, 1.0)?];
        let inner = if layer.flag(0) {
            let (cubic, scale) = (self.number(layer, 0.044_715)?, self.number(layer, 0.797_884_560_8)?);
            let square = self.node(layer, "Mul", &[x, x], &[]);
            let cube = self.node(layer, "Mul", &[&square, x], &[]);
            let cube = self.node(layer, "Mul", &[&cube, &cubic], &[]);
            let sum = self.node(layer, "Add", &[x, &cube], &[]);
            let scaled = self.node(layer, "Mul", &[&sum, &scale], &[]);
            self.node(layer, "Tanh", &[&scaled], &[])
        } else {
            let scale = self.number(layer, std::f64::consts::FRAC_1_SQRT_2)?;
            let scaled = self.node(layer, "Mul", &[x, &scale], &[]);
            self.node(layer, "Erf", &[&scaled], &[])
        };
        let gate = self.node(layer, "Add", &[&inner, &one], &[]);
        let y = self.node(layer, "Mul", &[x, &gate], &[]);
        Ok(self.node(layer, "Mul", &[&y, &half], &[]))
    }

    pub(super) fn eltwise(&mut self, layer: &Layer<'a>) -> Result<String> {
        let op = match layer.int(0, 0) {
            0 => "Mul",
            1 => "Add",
            2 => "Max",
            other => return Err(layer.error(format!("operation {other} is not supported"))),
        };
        let mut sum: Option<String> = None;
        for at in 0..layer.inputs.len() {
            let mut x = self.input(layer, at)?;
            if let Some(&factor) = layer.array(1).get(at).filter(|factor| op == "Add" && **factor != 1.0) {
                let factor = self.number(layer, factor)?;
                x = self.node(layer, "Mul", &[&x, &factor], &[]);
            }
            sum = Some(match sum {
                None => x,
                Some(sum) => self.node(layer, op, &[&sum, &x], &[]),
            });
        }
        sum.ok_or_else(|| layer.error("it has no input"))
    }

    pub(super) fn binary(&mut self, layer: &Layer<'a>) -> Result<String> {
        let a = self.input(layer, 0)?;
        let b = if layer.flag(1) { self.number(layer, layer.float(2, 0.0))? } else { self.input(layer, 1)? };
        let (op, is_turned) = match layer.int(0, 0) {
            0 => ("Add", false),
            1 => ("Sub", false),
            2 => ("Mul", false),
            3 => ("Div", false),
            4 => ("Max", false),
            5 => ("Min", false),
            6 => ("Pow", false),
            7 => ("Sub", true),
            8 => ("Div", true),
            9 => ("Pow", true),
            other => return Err(layer.error(format!("operation {other} is not supported"))),
        };
        let pair = if is_turned { [&b[..], &a[..]] } else { [&a[..], &b[..]] };
        Ok(self.node(layer, op, &pair, &[]))
    }
}
