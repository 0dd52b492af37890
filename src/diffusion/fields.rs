//! Values of a scheduler's configuration, with errors that name the key.

use super::config::Kind;
use crate::error::{Error, Result};
use serde_json::{Map, Value};

/// A configuration that is read for a class.
pub(super) struct Fields<'a> {
    pub(super) class: &'static str,
    pub(super) kind: Kind,
    pub(super) map: &'a Map<String, Value>,
}

impl Fields<'_> {
    /// The value of a key, unless it is null or the class has no such key.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        use Kind::{Ddim, Dpm, Edm, Lcm, Lms, Pndm, UniPc};
        let kind = self.kind;
        let is_own = match key {
            "timestep_spacing" | "steps_offset" => kind != Edm,
            "sigma_min" | "sigma_max" => kind != Lms,
            "rho" | "sigma_data" => kind == Edm,
            "set_alpha_to_one" => matches!(kind, Ddim | Pndm | Lcm),
            "skip_prk_steps" => kind == Pndm,
            "original_inference_steps" | "timestep_scaling" => kind == Lcm,
            "lower_order_final" => matches!(kind, Dpm | UniPc),
            "euler_at_final" | "lambda_min_clipped" => kind == Dpm,
            "predict_x0" | "disable_corrector" => kind == UniPc,
            _ => true,
        };
        self.map.get(key).filter(|value| is_own && !value.is_null())
    }

    pub(super) fn error(&self, key: &str, expected: impl std::fmt::Display) -> Error {
        let value = self.map.get(key).map_or_else(|| "absent".into(), Value::to_string);
        Error::Model(format!("{}: {key} is {value} (expected {expected})", self.class))
    }

    pub(super) fn value<T>(
        &self,
        key: &str,
        default: T,
        expected: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<T> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => read(value).ok_or_else(|| self.error(key, expected)),
        }
    }

    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool> {
        self.value(key, default, "true or false", Value::as_bool)
    }

    pub(super) fn number(&self, key: &str, default: f64) -> Result<f64> {
        self.value(key, default, "a number", Value::as_f64)
    }

    pub(super) fn positive(&self, key: &str, default: Option<f64>) -> Result<Option<f64>> {
        self.value(key, default, "a positive number", |value| value.as_f64().filter(|x| *x > 0.0).map(Some))
    }

    pub(super) fn whole(
        &self,
        key: &str,
        default: usize,
        range: std::ops::RangeInclusive<usize>,
    ) -> Result<usize> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let read = |value: &Value| {
            value.as_u64().and_then(|x| usize::try_from(x).ok()).filter(|x| range.contains(x))
        };
        self.value(key, default, &expected, read)
    }

    pub(super) fn choice<T: Copy>(&self, key: &str, default: &str, known: &[(&str, T)]) -> Result<T> {
        let text = match self.get(key) {
            None => default,
            Some(value) => value.as_str().unwrap_or_default(),
        };
        let found = known.iter().find(|(name, _)| *name == text);
        let names = || known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        found.map(|(_, value)| *value).ok_or_else(|| self.error(key, names()))
    }
}
