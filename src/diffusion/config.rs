//! Schedulers from the configuration files of diffusers, with that library's defaults for each class.

use super::betas::{Betas, products, zero_terminal};
use super::fields::Fields;
use super::schedule::Limit;
use crate::error::{Error, Result};
use serde_json::{Map, Value};

/// A way from noise to a picture: the settings of a diffusers scheduler.
///
/// The classes are DDPM, DDIM, PNDM, LMSDiscrete, EulerDiscrete, EulerAncestralDiscrete, HeunDiscrete,
/// DPMSolverMultistep, UniPCMultistep, LCM and EDMEuler. Values that are absent or null have the defaults of diffusers
/// 0.42. Keys that a class does not have are ignored, as diffusers ignores them.
#[derive(Debug, Clone)]
pub struct Scheduler {
    pub(super) class: &'static str,
    pub(super) kind: Kind,
    /// Timesteps of training.
    pub(super) train: usize,
    /// The variance of the picture in the latents of each timestep of training: the products of all `1 - beta`.
    pub(super) signal: Vec<f64>,
    /// The same for what is beyond the last timestep.
    pub(super) final_signal: f64,
    pub(super) prediction: Prediction,
    pub(super) spacing: Spacing,
    pub(super) offset: usize,
    pub(super) limit: Option<Limit>,
    pub(super) large_variance: bool,
    pub(super) sigmas: Sigmas,
    pub(super) sigma_min: Option<f64>,
    pub(super) sigma_max: Option<f64>,
    pub(super) log_interpolation: bool,
    pub(super) continuous: bool,
    pub(super) ends_at_zero: bool,
    /// Whether betas follow `squaredcos_cap_v2`.
    pub(super) cosine: bool,
    pub(super) skip_prk: bool,
    pub(super) solver: Solver,
    pub(super) original_steps: usize,
    pub(super) timestep_scaling: f64,
    pub(super) rho: f64,
    pub(super) sigma_data: f64,
}

/// Settings of the solvers of several steps.
#[derive(Debug, Clone)]
pub(super) struct Solver {
    pub(super) order: usize,
    /// Integrates the estimate of the picture, not of the noise.
    pub(super) data: bool,
    pub(super) sde: bool,
    pub(super) heun: bool,
    pub(super) bh1: bool,
    pub(super) lower_order_final: bool,
    pub(super) euler_at_final: bool,
    pub(super) lambda_min: f64,
    pub(super) uncorrected: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ddpm,
    Ddim,
    Pndm,
    Lms,
    Euler,
    EulerAncestral,
    Heun,
    Dpm,
    UniPc,
    Lcm,
    Edm,
}

const CLASSES: [(&str, Kind); 11] = [
    ("DDPMScheduler", Kind::Ddpm),
    ("DDIMScheduler", Kind::Ddim),
    ("PNDMScheduler", Kind::Pndm),
    ("LMSDiscreteScheduler", Kind::Lms),
    ("EulerDiscreteScheduler", Kind::Euler),
    ("EulerAncestralDiscreteScheduler", Kind::EulerAncestral),
    ("HeunDiscreteScheduler", Kind::Heun),
    ("DPMSolverMultistepScheduler", Kind::Dpm),
    ("UniPCMultistepScheduler", Kind::UniPc),
    ("LCMScheduler", Kind::Lcm),
    ("EDMEulerScheduler", Kind::Edm),
];

/// What the network predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prediction {
    Noise,
    Velocity,
    Sample,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spacing {
    Linspace,
    Leading,
    Trailing,
}

/// The rule for the noise levels of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sigmas {
    /// Those of the timesteps.
    Timesteps,
    Karras,
    Exponential,
    /// Exponential, with whole timesteps.
    Lambdas,
}

/// No file asks for more timesteps of training.
const MAX_TRAIN: usize = 100_000;

impl Scheduler {
    /// Reads the text of a `scheduler_config.json`.
    ///
    /// # Errors
    /// [`Error::Model`] if the text is no JSON, or if it names an unknown class, an unknown value or values that
    /// contradict each other.
    pub fn from_json(text: &str) -> Result<Scheduler> {
        let map = parse(text)?;
        match map.get("_class_name") {
            Some(Value::String(class)) => Scheduler::read(class, &map),
            _ => Err(Error::Model(
                "the scheduler's configuration has no _class_name (expected the scheduler_config.json of diffusers)"
                    .into(),
            )),
        }
    }

    /// Reads the text of a `scheduler_config.json` for another class, as `from_config` of that class does.
    ///
    /// # Errors
    /// Those of [`Scheduler::from_json`].
    pub fn from_json_as(class: &str, text: &str) -> Result<Scheduler> {
        Scheduler::read(class, &parse(text)?)
    }

    /// The name of the class in diffusers.
    pub fn class(&self) -> &'static str {
        self.class
    }

    fn read(class: &str, map: &Map<String, Value>) -> Result<Scheduler> {
        let Some(&(class, kind)) = CLASSES.iter().find(|(name, _)| *name == class) else {
            let known = CLASSES.map(|(name, _)| name).join(", ");
            return Err(
                Error::Model(format!("the scheduler {class} is not known (there is {known})")).one_line()
            );
        };
        Fields { class, kind, map }.scheduler().map_err(Error::one_line)
    }
}

/// Python writes infinities, which JSON does not know. The only one in use is the default of `lambda_min_clipped`.
fn parse(text: &str) -> Result<Map<String, Value>> {
    serde_json::from_str(&text.replace(": -Infinity", ": null")).map_err(|error| {
        Error::Model(format!("the scheduler's configuration is no JSON object: {error}")).one_line()
    })
}

impl Fields<'_> {
    fn scheduler(&self) -> Result<Scheduler> {
        use Kind::{Ddim, Ddpm, Dpm, Edm, Euler, EulerAncestral, Heun, Lcm, Lms, Pndm, UniPc};
        let is = |kinds: &[Kind]| kinds.contains(&self.kind);
        let train = self.whole("num_train_timesteps", 1000, 1..=MAX_TRAIN)?;
        let rescaled = !is(&[Pndm, Lms, Heun, Edm]) && self.flag("rescale_betas_zero_snr", false)?;
        let betas = if is(&[Edm]) { None } else { Some(self.betas()?) };
        let cosine = matches!(betas, Some(Betas::Cosine));
        let mut signal = match betas {
            Some(betas) => self.signal(betas, train, rescaled)?,
            None => Vec::new(),
        };
        if rescaled && is(&[Euler, EulerAncestral, Dpm, UniPc]) {
            // A last signal of zero would be an infinite noise level.
            signal[train - 1] = 2f64.powi(-24);
        }
        let spacing = if is(&[Ddpm, Ddim, Pndm, Lcm]) { "leading" } else { "linspace" };
        let to_one = is(&[Ddpm]) || self.flag("set_alpha_to_one", is(&[Ddim, Lcm]))?;
        let original_steps = self.whole("original_inference_steps", 50, 1..=MAX_TRAIN)?;
        if is(&[Lcm]) && original_steps > train {
            return Err(
                self.error("original_inference_steps", format!("at most num_train_timesteps, {train}"))
            );
        }
        let scheduler = Scheduler {
            class: self.class,
            kind: self.kind,
            train,
            final_signal: if to_one { 1.0 } else { signal.first().copied().unwrap_or(1.0) },
            signal,
            prediction: self.prediction()?,
            spacing: self.choice(
                "timestep_spacing",
                spacing,
                &[
                    ("linspace", Spacing::Linspace),
                    ("leading", Spacing::Leading),
                    ("trailing", Spacing::Trailing),
                ],
            )?,
            offset: self.whole("steps_offset", 0, 0..=train)?,
            limit: self.limit()?,
            large_variance: is(&[Ddpm])
                && self.choice(
                    "variance_type",
                    "fixed_small",
                    &[("fixed_small", false), ("fixed_small_log", false), ("fixed_large", true)],
                )?,
            sigmas: self.sigmas()?,
            sigma_min: self.positive("sigma_min", if is(&[Edm]) { Some(0.002) } else { None })?,
            sigma_max: self.positive("sigma_max", if is(&[Edm]) { Some(80.0) } else { None })?,
            log_interpolation: is(&[Euler])
                && self.choice("interpolation_type", "linear", &[("linear", false), ("log_linear", true)])?,
            continuous: is(&[Euler])
                && self.choice("timestep_type", "discrete", &[("discrete", false), ("continuous", true)])?,
            ends_at_zero: !is(&[Euler, Dpm, UniPc, Edm])
                || self.choice("final_sigmas_type", "zero", &[("zero", true), ("sigma_min", false)])?,
            cosine,
            skip_prk: self.flag("skip_prk_steps", false)?,
            solver: self.solver()?,
            original_steps,
            timestep_scaling: self.number("timestep_scaling", 10.0)?,
            rho: self.positive("rho", None)?.unwrap_or(7.0),
            sigma_data: self.positive("sigma_data", None)?.unwrap_or(0.5),
        };
        if let (Some(min), Some(max)) = (scheduler.sigma_min, scheduler.sigma_max)
            && min >= max
        {
            return Err(self.error("sigma_min", format!("less than sigma_max, {max}")));
        }
        if is(&[Dpm]) && !scheduler.solver.data && scheduler.ends_at_zero {
            return Err(self.error("final_sigmas_type", "sigma_min, because algorithm_type predicts noise"));
        }
        if is(&[Dpm]) && !scheduler.solver.data && scheduler.solver.sde && scheduler.solver.order == 3 {
            return Err(self.error("solver_order", "1 or 2 for sde-dpmsolver"));
        }
        Ok(scheduler)
    }

    fn prediction(&self) -> Result<Prediction> {
        let all = [
            ("epsilon", Prediction::Noise),
            ("v_prediction", Prediction::Velocity),
            ("sample", Prediction::Sample),
        ];
        let known = if matches!(self.kind, Kind::Pndm | Kind::EulerAncestral | Kind::Edm) { 2 } else { 3 };
        self.choice("prediction_type", "epsilon", &all[..known])
    }

    fn limit(&self) -> Result<Option<Limit>> {
        use Kind::{Ddim, Ddpm, Dpm, Heun, Lcm, UniPc};
        let thresholds = match self.kind {
            Ddpm | Ddim | Lcm | Dpm => true,
            UniPc => self.flag("predict_x0", true)?,
            _ => false,
        };
        if thresholds && self.flag("thresholding", false)? {
            let ratio = self.number("dynamic_thresholding_ratio", 0.995)?;
            let max = self.number("sample_max_value", 1.0)?;
            if !(0.0..=1.0).contains(&ratio) {
                return Err(self.error("dynamic_thresholding_ratio", "0 to 1"));
            }
            if max <= 0.0 {
                return Err(self.error("sample_max_value", "a positive number"));
            }
            return Ok(Some(Limit::Quantile { ratio, max }));
        }
        let clips = matches!(self.kind, Ddpm | Ddim | Lcm | Heun);
        if clips && self.flag("clip_sample", matches!(self.kind, Ddpm | Ddim))? {
            let range = self.positive("clip_sample_range", None)?.unwrap_or(1.0);
            return Ok(Some(Limit::Clip(range)));
        }
        Ok(None)
    }

    fn sigmas(&self) -> Result<Sigmas> {
        use Kind::{Dpm, Edm, Euler, Heun, Lms, UniPc};
        if self.kind == Edm {
            let rules = [("karras", Sigmas::Karras), ("exponential", Sigmas::Exponential)];
            return self.choice("sigma_schedule", "karras", &rules);
        }
        if !matches!(self.kind, Euler | Heun | Lms | Dpm | UniPc) {
            return Ok(Sigmas::Timesteps);
        }
        let solver = matches!(self.kind, Dpm | UniPc);
        for key in ["use_beta_sigmas", "use_flow_sigmas", "use_dynamic_shifting"] {
            if (solver || key == "use_beta_sigmas") && self.flag(key, false)? {
                return Err(self.error(key, "false; this rule for noise levels is not supported"));
            }
        }
        let [karras, exponential] =
            [self.flag("use_karras_sigmas", false)?, self.flag("use_exponential_sigmas", false)?];
        match (karras, exponential) {
            (true, true) => {
                Err(self.error("use_exponential_sigmas", "false, because use_karras_sigmas is true"))
            }
            (true, false) => Ok(Sigmas::Karras),
            _ if self.kind == Dpm && self.flag("use_lu_lambdas", false)? => Ok(Sigmas::Lambdas),
            (false, true) => Ok(Sigmas::Exponential),
            (false, false) => Ok(Sigmas::Timesteps),
        }
    }

    fn solver(&self) -> Result<Solver> {
        let (dpm, unipc) = (self.kind == Kind::Dpm, self.kind == Kind::UniPc);
        if dpm && self.get("variance_type").is_some() {
            return Err(self.error("variance_type", "null; learned variances are not supported"));
        }
        if unipc && self.get("solver_p").is_some() {
            return Err(self.error("solver_p", "null; another predictor is not supported"));
        }
        let algorithms = [
            ("dpmsolver++", (true, false)),
            ("sde-dpmsolver++", (true, true)),
            ("dpmsolver", (false, false)),
            ("sde-dpmsolver", (false, true)),
            ("deis", (true, false)),
        ];
        let (data, sde) = if dpm {
            self.choice("algorithm_type", "dpmsolver++", &algorithms)?
        } else {
            (self.flag("predict_x0", true)?, false)
        };
        // Each class reads the names of the other's solvers as its default.
        let types = [("midpoint", 0), ("bh2", 0), ("logrho", 0), ("heun", 1), ("bh1", 2)];
        let solver_type = if dpm || unipc { self.choice("solver_type", "bh2", &types)? } else { 0 };
        let uncorrected = match self.get("disable_corrector") {
            None => Vec::new(),
            Some(value) => serde_json::from_value(value.clone())
                .map_err(|_| self.error("disable_corrector", "a list of whole numbers"))?,
        };
        Ok(Solver {
            order: if dpm || unipc { self.whole("solver_order", 2, 1..=3)? } else { 1 },
            data,
            sde,
            heun: dpm && solver_type == 1,
            bh1: unipc && solver_type == 2,
            lower_order_final: self.flag("lower_order_final", true)?,
            euler_at_final: self.flag("euler_at_final", false)?,
            lambda_min: self.number("lambda_min_clipped", f64::NEG_INFINITY)?,
            uncorrected,
        })
    }

    fn betas(&self) -> Result<Betas> {
        let mut known = vec![
            ("linear", Betas::Linear),
            ("scaled_linear", Betas::Scaled),
            ("squaredcos_cap_v2", Betas::Cosine),
        ];
        match self.kind {
            Kind::Ddpm => known.extend([("sigmoid", Betas::Sigmoid), ("laplace", Betas::Laplace)]),
            Kind::Heun => known.push(("exp", Betas::Exp)),
            _ => {}
        }
        self.choice("beta_schedule", if self.kind == Kind::Lcm { "scaled_linear" } else { "linear" }, &known)
    }

    /// The products of all `1 - beta`. Betas and signals are rounded to f32 where diffusers rounds them, because noise
    /// levels of the last steps depend on it: the same seed is to give the same picture.
    fn signal(&self, betas: Betas, train: usize, rescaled: bool) -> Result<Vec<f64>> {
        let small = matches!(self.kind, Kind::Heun | Kind::Lcm);
        let [first, last] = [
            self.number("beta_start", if small { 0.00085 } else { 0.0001 })?,
            self.number("beta_end", if small { 0.012 } else { 0.02 })?,
        ];
        let trained: Option<Vec<f32>> = match self.get("trained_betas") {
            None => None,
            Some(value) => Some(
                serde_json::from_value(value.clone())
                    .ok()
                    .filter(|betas: &Vec<f32>| betas.len() == train)
                    .ok_or_else(|| self.error("trained_betas", format!("a list of {train} numbers")))?,
            ),
        };
        let mut betas = trained.unwrap_or_else(|| betas.values(first, last, train));
        if rescaled {
            betas = zero_terminal(&betas);
        }
        if let Some(beta) = betas.iter().find(|beta| !(0.0..=1.0).contains(*beta)) {
            return Err(Error::Model(format!("{}: beta is {beta} (expected 0 to 1)", self.class)));
        }
        Ok(products(&betas).into_iter().map(f64::from).collect())
    }
}
