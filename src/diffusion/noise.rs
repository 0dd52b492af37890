//! The normal numbers of PyTorch's generator for CPUs.

/// Words of the generator's state.
const STATE: usize = 624;
/// PyTorch makes this many numbers at a time, if at least as many are asked for.
const BLOCK: usize = 16;

/// The numbers that `torch.randn` draws with `torch.Generator("cpu").manual_seed(seed)`: the Mersenne twister mt19937
/// (Matsumoto and Nishimura 1998) and the method of Box and Muller. Each call goes on where the last one ended, as in
/// PyTorch. Fewer than 16 numbers are exact; of more, each differs by at most 5e-7, because PyTorch's vectorised
/// logarithm and cosine round otherwise.
///
/// ```
/// let mut noise = unet_wgpu::diffusion::Noise::new(42);
/// assert_eq!(noise.normal(2), [0.33669037, 0.12880941]);
/// ```
#[derive(Debug, Clone)]
pub struct Noise {
    state: [u32; STATE],
    at: usize,
    /// The second number of a pair, if a call of less than a block ended between the two.
    second: Option<f64>,
}

impl Noise {
    /// A generator from a seed, of which the lower 32 bits count.
    pub fn new(seed: u64) -> Noise {
        let mut state = [seed as u32; STATE];
        for i in 1..STATE {
            let before: u32 = state[i - 1];
            state[i] = 1_812_433_253u32.wrapping_mul(before ^ (before >> 30)).wrapping_add(i as u32);
        }
        Noise { state, at: STATE, second: None }
    }

    /// The next `count` numbers of a normal distribution with mean 0 and variance 1: `torch.randn(count)`.
    pub fn normal(&mut self, count: usize) -> Vec<f32> {
        if count < BLOCK {
            return (0..count).map(|_| self.one() as f32).collect();
        }
        let mut values: Vec<f32> = (0..count).map(|_| self.uniform()).collect();
        let whole = count / BLOCK * BLOCK;
        values[..whole].chunks_exact_mut(BLOCK).for_each(pairs);
        if whole < count {
            // The last block overlaps the one before it and is drawn anew.
            let last = &mut values[count - BLOCK..];
            last.iter_mut().for_each(|x| *x = self.uniform());
            pairs(last);
        }
        values
    }

    fn one(&mut self) -> f64 {
        if let Some(second) = self.second.take() {
            return second;
        }
        let [turn, u] = [self.uniform_f64(), self.uniform_f64()];
        let radius = (-2.0 * (-u).ln_1p()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * turn).sin_cos();
        self.second = Some(radius * sin);
        radius * cos
    }

    /// 24 bits in 0..1.
    fn uniform(&mut self) -> f32 {
        (self.bits() & 0xff_ffff) as f32 / (1u32 << 24) as f32
    }

    /// 53 bits in 0..1.
    fn uniform_f64(&mut self) -> f64 {
        let bits = (u64::from(self.bits()) << 32) | u64::from(self.bits());
        (bits & ((1 << 53) - 1)) as f64 / (1u64 << 53) as f64
    }

    fn bits(&mut self) -> u32 {
        if self.at == STATE {
            for i in 0..STATE {
                let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % STATE] & 0x7fff_ffff);
                let twist = if y & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[i] = self.state[(i + 397) % STATE] ^ (y >> 1) ^ twist;
            }
            self.at = 0;
        }
        let mut y = self.state[self.at];
        self.at += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }
}

/// Turns 16 uniform numbers into normal ones: the first eight give the radii, the others the angles.
fn pairs(block: &mut [f32]) {
    let (radii, angles) = block.split_at_mut(BLOCK / 2);
    for (a, b) in radii.iter_mut().zip(angles) {
        let radius = (-2.0 * (1.0 - *a).ln()).sqrt();
        let (sin, cos) = (std::f32::consts::TAU * *b).sin_cos();
        (*a, *b) = (radius * cos, radius * sin);
    }
}
