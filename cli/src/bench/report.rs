//! The figures of `unet bench`: as text, as JSON and as a chart.

use crate::bench::measure::WARM_UP;
use crate::chart::{Bar, Chart, Layers, Point};
use crate::roofline::Rates;
use crate::text;
use crate::values::Size;
use serde_json::{Value, json};
use unet_wgpu::gpu::ceiling::Ceilings;
use unet_wgpu::plan::Precision;
use unet_wgpu::verify::Difference;

/// One layer of the optimised network, with all its dispatches.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub(super) name: String,
    /// Its kernels without repetition.
    pub(super) kernels: Vec<&'static str>,
    pub(super) dispatches: usize,
    pub(super) seconds: f64,
    pub(super) flops: u64,
    pub(super) bytes: u64,
    /// Bytes of everything that its dispatches bind, including scratch and padding.
    pub(super) bound_bytes: u64,
}

/// The figures of one size, batch and precision.
pub(super) struct Measured {
    pub(super) batch: usize,
    pub(super) size: Size,
    pub(super) precision: Precision,
    pub(super) flops: u64,
    /// Time from the call to the result in host memory for each run, sorted.
    pub(super) seconds: Vec<f64>,
    /// Time between results when runs overlap.
    pub(super) overlapped: f64,
    /// Sum over the layers, without the gaps between them.
    pub(super) device_seconds: Option<f64>,
    /// Host time to record and submit a run.
    pub(super) host_seconds: Option<f64>,
    /// Difference from the CPU reference.
    pub(super) difference: Option<Difference>,
    pub(super) layers: Vec<Layer>,
}

/// All figures, and the device, driver and date.
pub(super) struct Report {
    pub(super) device: String,
    pub(super) adapter: Value,
    pub(super) since_1970: std::time::Duration,
    pub(super) checked: bool,
    /// Whether the text has a table of layers. The JSON and the chart always have it.
    pub(super) tables: bool,
    pub(super) ceilings: Option<Ceilings>,
    pub(super) runs: Vec<Measured>,
}

impl Layer {
    /// Multiplications and additions per second; 0 for a layer that is faster than the clock's resolution.
    fn flop_rate(&self) -> f64 {
        if self.seconds > 0.0 { self.flops as f64 / self.seconds } else { 0.0 }
    }

    fn byte_rate(&self) -> f64 {
        if self.seconds > 0.0 { self.bytes as f64 / self.seconds } else { 0.0 }
    }

    fn json(&self, rates: Option<Rates>) -> Value {
        json!({
            "name": self.name,
            "kernel": self.kernels.join(" + "),
            "dispatches": self.dispatches,
            "ms": self.seconds * 1e3,
            "flops": self.flops,
            "bytes": self.bytes,
            "bound_bytes": self.bound_bytes,
            "gflops": self.flop_rate() / 1e9,
            "gbs": self.byte_rate() / 1e9,
            "share_of_fma": rates.map(|r| self.flop_rate() / r.flops),
            "share_of_copy": rates.map(|r| self.byte_rate() / r.bytes),
        })
    }
}

impl Measured {
    fn size(&self) -> String {
        format!("{}x{}x{}", self.batch, self.size.height, self.size.width)
    }

    fn median(&self) -> f64 {
        median(&self.seconds)
    }

    /// The smallest time that 95 % of the runs do not exceed.
    fn p95(&self) -> f64 {
        self.seconds[(self.seconds.len() * 95).div_ceil(100) - 1]
    }

    fn gflops(&self) -> f64 {
        self.flops as f64 / self.median() / 1e9
    }

    fn pictures_per_second(&self) -> f64 {
        self.batch as f64 / self.overlapped
    }

    fn megapixels_per_second(&self) -> f64 {
        (self.size.height * self.size.width) as f64 * self.pictures_per_second() / 1e6
    }

    fn row(&self) -> Vec<String> {
        let ms = |seconds: f64| format!("{:.3}", seconds * 1e3);
        let none = || "-".to_string();
        text::row([
            &self.size(),
            &self.precision,
            &ms(self.median()),
            &ms(self.p95()),
            &ms(self.seconds[0]),
            &self.device_seconds.map_or_else(none, ms),
            &format!("{:.1}", self.gflops()),
            &format!("{:.2}", self.pictures_per_second()),
            &format!("{:.2}", self.megapixels_per_second()),
            &self.difference.map_or_else(none, |d| format!("{:.1e}", d.nrmse)),
        ])
    }

    fn json(&self, rates: Option<Rates>) -> Value {
        json!({
            "height": self.size.height,
            "width": self.size.width,
            "batch": self.batch,
            "precision": self.precision.to_string(),
            "runs": self.seconds.len(),
            "median_ms": self.median() * 1e3,
            "host_ms": self.host_seconds.map(|s| s * 1e3),
            "p95_ms": self.p95() * 1e3,
            "min_ms": self.seconds[0] * 1e3,
            "overlapped_ms": self.overlapped * 1e3,
            "device_ms": self.device_seconds.map(|s| s * 1e3),
            "flops": self.flops,
            "gflops": self.gflops(),
            "pictures_per_s": self.pictures_per_second(),
            "megapixels_per_s": self.megapixels_per_second(),
            "check": self.difference.map(|d| json!({ "max_abs": d.max_abs, "nrmse": d.nrmse, "range": d.range })),
            "layers": self.layers.iter().map(|layer| layer.json(rates)).collect::<Vec<_>>(),
        })
    }
}

impl Report {
    fn rates(&self, precision: Precision) -> Option<Rates> {
        self.ceilings.map(|c| Rates { flops: c.fma(precision), bytes: c.copy })
    }

    fn date(&self) -> String {
        text::date(self.since_1970.as_secs())
    }

    /// Device, driver and date.
    fn heading(&self) -> String {
        let driver = self.adapter["driver"].as_str().map(|driver| format!(" ({driver})"));
        format!("{}{}, {}", self.device, driver.unwrap_or_default(), self.date())
    }

    pub(super) fn text(&self) -> String {
        let mut rows = vec![text::row([
            &"batch x height x width",
            &"stored",
            &"median ms",
            &"p95 ms",
            &"min ms",
            &"device ms",
            &"GFLOP/s",
            &"pictures/s",
            &"Mpixel/s",
            &"NRMSE",
        ])];
        rows.extend(self.runs.iter().map(Measured::row));
        let checked = match self.checked {
            true => "outputs agree with the CPU reference",
            false => "outputs were NOT checked (--no-check)",
        };
        let runs = self.runs.first().map_or(0, |run| run.seconds.len());
        let mut report = format!("{}\n{}", self.heading(), text::table(&rows, 2));
        report.push_str(&format!(
            "{checked}; {runs} runs after {WARM_UP} of warm-up, each on a fresh random input\n\
             median, p95, min: upload, run and read back; device: the layers' own time, without what lies between them\n\
             pictures/s: with overlapping runs\n"
        ));
        if let Some(Ceilings { fma_f32, fma_f16, copy, .. }) = self.ceilings {
            let f16 = fma_f16.map(|rate| format!(", f16 {}", text::rate(rate, "FLOP")));
            report.push_str(&format!(
                "\nmeasured ceilings: multiply-add f32 {}{}; copy {}\n",
                text::rate(fma_f32, "FLOP"),
                f16.unwrap_or_default(),
                text::rate(copy, "B")
            ));
        }
        for run in self.runs.iter().filter(|run| self.tables && !run.layers.is_empty()) {
            let table = layer_table(&run.layers, self.rates(run.precision));
            report.push_str(&format!("\nlayers at {}, {}\n{table}", run.size(), run.precision));
        }
        report
    }

    pub(super) fn json(&self) -> Value {
        let ceilings = self.ceilings.map(|c| {
            json!({
                "fma_f32_gflops": c.fma_f32 / 1e9,
                "fma_f16_gflops": c.fma_f16.map(|rate| rate / 1e9),
                "copy_gbs": c.copy / 1e9,
            })
        });
        json!({
            "device": self.device,
            "adapter": self.adapter,
            "version": env!("CARGO_PKG_VERSION"),
            "date": self.date(),
            "seed": self.since_1970.as_nanos() as u64,
            "checked": self.checked,
            "warm_up": WARM_UP,
            "ceilings": ceilings,
            "runs": self.runs.iter().map(|run| run.json(self.rates(run.precision))).collect::<Vec<_>>(),
        })
    }

    /// Layers of the largest run of each precision, and all runs.
    pub(super) fn chart(&self) -> Chart {
        let mut largest: Vec<&Measured> = Vec::new();
        for run in self.runs.iter().filter(|run| !run.layers.is_empty()) {
            match largest.iter_mut().find(|other| other.precision == run.precision) {
                Some(other) if other.flops < run.flops => *other = run,
                Some(_) => {}
                None => largest.push(run),
            }
        }
        let shown = largest.first().map(|run| format!("layers at {}; ", run.size())).unwrap_or_default();
        let checked = if self.checked { "outputs checked" } else { "outputs NOT checked" };
        let layers = largest.iter().map(|run| Layers {
            name: run.precision.to_string(),
            bars: run.layers.iter().map(Layer::bar).collect(),
            peak: self.rates(run.precision).map_or(1.0, |rates| rates.flops),
        });
        Chart {
            title: self.device.clone(),
            subtitle: format!("{shown}{checked}; unet-wgpu {}, {}", env!("CARGO_PKG_VERSION"), self.date()),
            layers: layers.collect(),
            copy: self.ceilings.map_or(1.0, |c| c.copy),
            points: self.runs.iter().map(Measured::point).collect(),
        }
    }
}

impl Layer {
    fn bar(&self) -> Bar {
        let Layer { seconds, flops, bytes, .. } = *self;
        Bar { name: self.name.clone(), seconds, flops, bytes }
    }
}

impl Measured {
    fn point(&self) -> Point {
        Point {
            size: format!("{}x{}", self.size.height, self.size.width),
            pixels: self.size.height * self.size.width,
            batch: self.batch,
            precision: self.precision.to_string(),
            seconds: self.median(),
        }
    }
}

fn layer_table(layers: &[Layer], rates: Option<Rates>) -> String {
    let total: f64 = layers.iter().map(|l| l.seconds).sum();
    let mut rows =
        vec![text::row([&"layer", &"kernels", &"us", &"% time", &"GFLOP/s", &"% FMA", &"GB/s", &"% copy"])];
    let percent = |part: f64, whole: Option<f64>| match whole {
        Some(whole) if whole > 0.0 => format!("{:.1}", 100.0 * part / whole),
        _ => "-".into(),
    };
    rows.extend(layers.iter().map(|l| {
        text::row([
            &l.name,
            &l.kernels.join(" + "),
            &format!("{:.1}", l.seconds * 1e6),
            &percent(l.seconds, Some(total)),
            &format!("{:.1}", l.flop_rate() / 1e9),
            &percent(l.flop_rate(), rates.map(|r| r.flops)),
            &format!("{:.1}", l.byte_rate() / 1e9),
            &percent(l.byte_rate(), rates.map(|r| r.bytes)),
        ])
    }));
    let mut table = text::table(&rows, 2);
    let has = |kind: &str| layers.iter().any(|l| l.kernels.iter().any(|k| k.contains(kind)));
    if has("winograd") {
        table.push_str(
            "Winograd layers count the work of a plain convolution, so they may pass 100 % of FMA\n",
        );
    }
    if has("cooperative") {
        table.push_str("cooperative layers run on matrix units, so they may pass 100 % of FMA\n");
    }
    table
}

/// The median of sorted numbers; 0 for none.
pub(super) fn median(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => 0.0,
        n => (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0,
    }
}
