// Functions of single numbers, four at a time. A kernel's `activate` calls one of the functions `f_*`; their names
// and arguments are those of `Activation` in the graph.
//
// Arguments of exp and tanh are bounded, because drivers may assume that infinities do not occur. Bounds are selects:
// min, max and clamp may turn NaN into a number.

fn within(x: vec4<f32>, low: f32, high: f32) -> vec4<f32> {
    let raised = select(x, vec4<f32>(low), x < vec4<f32>(low));
    return select(raised, vec4<f32>(high), raised > vec4<f32>(high));
}

// x if it is not negative, else y.
fn negative(x: vec4<f32>, y: vec4<f32>) -> vec4<f32> {
    return select(x, y, x < vec4<f32>(0.0));
}

fn f_relu(x: vec4<f32>) -> vec4<f32> { return negative(x, vec4<f32>(0.0)); }
fn f_leaky_relu(x: vec4<f32>, slope: f32) -> vec4<f32> { return negative(x, slope * x); }
fn f_sigmoid(x: vec4<f32>) -> vec4<f32> { return 1.0 / (1.0 + f_exp(-x)); }
fn f_tanh(x: vec4<f32>) -> vec4<f32> { return tanh(within(x, -10.0, 10.0)); }
fn f_hard_sigmoid(x: vec4<f32>, alpha: f32, beta: f32) -> vec4<f32> { return within(alpha * x + beta, 0.0, 1.0); }
fn f_hard_swish(x: vec4<f32>) -> vec4<f32> { return x * within(x * (1.0 / 6.0) + 0.5, 0.0, 1.0); }
fn f_elu(x: vec4<f32>, alpha: f32) -> vec4<f32> { return negative(x, alpha * (f_exp(x) - 1.0)); }
fn f_selu(x: vec4<f32>) -> vec4<f32> { return 1.050701 * negative(x, 1.6732632 * (f_exp(x) - 1.0)); }
fn f_softplus(x: vec4<f32>) -> vec4<f32> { return f_relu(x) + log(1.0 + f_exp(-abs(x))); }
fn f_softsign(x: vec4<f32>) -> vec4<f32> { return x / (1.0 + abs(x)); }
fn f_silu(x: vec4<f32>) -> vec4<f32> { return x * f_sigmoid(x); }
fn f_gelu(x: vec4<f32>) -> vec4<f32> { return 0.5 * x * (1.0 + f_erf(x * 0.70710678)); }
fn f_gelu_tanh(x: vec4<f32>) -> vec4<f32> {
    // Beyond 10 tanh is 1 in f32, and x^3 could overflow.
    let bounded = within(x, -10.0, 10.0);
    return 0.5 * x * (1.0 + f_tanh(0.7978846 * (bounded + 0.044715 * bounded * bounded * bounded)));
}
fn f_clip(x: vec4<f32>, low: f32, high: f32) -> vec4<f32> { return within(x, low, high); }
fn f_exp(x: vec4<f32>) -> vec4<f32> { return exp(within(x, -87.0, 88.7)); }
fn f_log(x: vec4<f32>) -> vec4<f32> { return log(x); }
fn f_sqrt(x: vec4<f32>) -> vec4<f32> { return sqrt(x); }
fn f_reciprocal(x: vec4<f32>) -> vec4<f32> { return 1.0 / x; }
fn f_abs(x: vec4<f32>) -> vec4<f32> { return abs(x); }
fn f_neg(x: vec4<f32>) -> vec4<f32> { return -x; }
fn f_square(x: vec4<f32>) -> vec4<f32> { return x * x; }
fn f_sin(x: vec4<f32>) -> vec4<f32> { return sine(x, vec4<f32>(0.0)); }
fn f_cos(x: vec4<f32>) -> vec4<f32> { return sine(x, vec4<f32>(0.5)); }
fn f_floor(x: vec4<f32>) -> vec4<f32> { return floor(x); }
fn f_ceil(x: vec4<f32>) -> vec4<f32> { return ceil(x); }
fn f_round(x: vec4<f32>) -> vec4<f32> { return round(x); }
fn f_trunc(x: vec4<f32>) -> vec4<f32> { return trunc(x); }
fn f_is_nan(x: vec4<f32>) -> vec4<f32> { return truth(is_nan(x)); }
fn f_is_infinite(x: vec4<f32>) -> vec4<f32> {
    return truth((bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu)) == vec4<u32>(0x7f800000u));
}
fn f_sign(x: vec4<f32>) -> vec4<f32> {
    let positive = select(x, vec4<f32>(1.0), x > vec4<f32>(0.0));
    return negative(positive, vec4<f32>(-1.0));
}
fn f_pow_scalar(x: vec4<f32>, exponent: f32) -> vec4<f32> { return power(x, vec4<f32>(exponent)); }

// tanh(log(1 + e)) = (e^2 + 2 e) / (e^2 + 2 e + 2). It is 1 in f32 from x = 20 on, where e^2 is still finite.
fn f_mish(x: vec4<f32>) -> vec4<f32> {
    let e = f_exp(within(x, -87.0, 20.0));
    let n = e * (e + 2.0);
    return x * (n / (n + 2.0));
}

// The error function within a few units in the last place, as a rational function of x^2 (as in Eigen and XLA).
fn f_erf(x: vec4<f32>) -> vec4<f32> {
    // Beyond 3.95 the nearest f32 is 1; the quotient is slightly off.
    let b = within(x, -3.96, 3.96);
    let s = b * b;
    var above = s * -2.7261423e-10 + 2.7706814e-8;
    above = above * s - 2.101024e-6;
    above = above * s - 5.6925064e-5;
    above = above * s - 7.349906e-4;
    above = above * s - 2.9545998e-3;
    above = above * s - 1.6096033e-2;
    var below = s * -1.4566072e-5 - 2.1337405e-4;
    below = below * s - 1.682827e-3;
    below = below * s - 7.373329e-3;
    below = below * s - 1.4264739e-2;
    return select(b * above / below, sign(b), abs(b) > vec4<f32>(3.95));
}

// sin(x + shift * pi). WGSL allows its own sin an error of 2^-11, and more beyond pi. Here the nearest multiple of pi
// is subtracted in three parts (Cody and Waite), and the rest goes into a Taylor polynomial.
fn sine(x: vec4<f32>, shift: vec4<f32>) -> vec4<f32> {
    let turns = round(x * 0.31830989 + shift);
    let half_turns = turns - shift;
    let r = ((x - half_turns * 3.140625) - half_turns * 9.6750259e-4) - half_turns * 1.509958e-7;
    let s = r * r;
    var y = s * -2.5052108e-8 + 2.7557319e-6;
    y = y * s - 1.9841270e-4;
    y = y * s + 8.3333333e-3;
    y = y * s - 1.6666667e-1;
    y = y * s * r + r;
    let odd = turns - 2.0 * floor(turns * 0.5);
    return select(y, -y, odd > vec4<f32>(0.5));
}

// pow for any base. WGSL's pow is undefined for negative bases, and 0 to the power of 0 may not be 1.
fn power(x: vec4<f32>, y: vec4<f32>) -> vec4<f32> {
    let size = pow(abs(x), y);
    let odd = abs(y - 2.0 * floor(y * 0.5)) == vec4<f32>(1.0);
    let whole = floor(y) == y;
    let signed = select(size, -size, (x < vec4<f32>(0.0)) & odd);
    // A negative base with a fractional exponent: the driver's NaN.
    let some = select(signed, sqrt(x), (x < vec4<f32>(0.0)) & !whole);
    let number = select(some, vec4<f32>(1.0), y == vec4<f32>(0.0));
    return select(number, x + y, is_nan(x) | is_nan(y));
}

// 1 for true, 0 for false.
fn truth(x: vec4<bool>) -> vec4<f32> {
    return select(vec4<f32>(0.0), vec4<f32>(1.0), x);
}

// a / b rounded toward zero, for whole numbers. WGSL's division may be off by a few units in the last place; then what
// is left of a has the other sign, or is as large as b.
fn quotient(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    let near = round(a / b);
    let left = a - near * b;
    let unit = sign(a) * sign(b);
    let wrong = (left != vec4<f32>(0.0)) & ((left < vec4<f32>(0.0)) != (a < vec4<f32>(0.0)));
    return select(near, near - unit, wrong);
}

fn remainder(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    return a - quotient(a, b) * b;
}

fn modulo(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    let left = remainder(a, b);
    let wrong = (left != vec4<f32>(0.0)) & ((left < vec4<f32>(0.0)) != (b < vec4<f32>(0.0)));
    return select(left, left + b, wrong);
}

// Compares bits, because compilers may assume that `x != x` is false.
fn is_nan(x: vec4<f32>) -> vec4<bool> {
    return (bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
}

// The larger of two numbers, or NaN if one of them is NaN.
fn larger(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    return select(b, a, (b < a) | is_nan(a));
}
