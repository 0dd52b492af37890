//! The kernels for dense convolutions, as one list: the kernels that can be forced, measured and tested. The file
//! `lower/choose.rs` chooses the kernel of a layer.

use crate::plan::{DeviceProfile, Precision};

macro_rules! conv_kernels {
    ($($(#[$attribute:meta])* $variant:ident = $name:literal, $help:literal, $precisions:expr;)*) => {
        /// Which kernel computes dense convolutions.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum ConvKernel { $(#[doc = $help] $(#[$attribute])* $variant),* }

        impl ConvKernel {
            /// Every choice.
            pub const ALL: &[ConvKernel] = &[$(ConvKernel::$variant),*];

            /// The name in files and on the command line, such as `winograd4`.
            pub const fn name(self) -> &'static str {
                match self { $(ConvKernel::$variant => $name),* }
            }

            /// What it is, in a few words.
            pub const fn help(self) -> &'static str {
                match self { $(ConvKernel::$variant => $help),* }
            }

            const fn precisions(self) -> &'static [Precision] {
                match self { $(ConvKernel::$variant => $precisions),* }
            }
        }
    };
}

conv_kernels! {
    #[default]
    Auto = "auto", "What was measured, where the options hold it; elsewhere by device and shape", &[];
    Direct = "direct", "From storage alone", &[Precision::F32, Precision::F16];
    Tiled = "tiled", "Through workgroup memory, wherever it applies", &[Precision::F32, Precision::F16];
    Cooperative = "cooperative", "Matrix units, on devices opened for 16x16x16 or 8x8x8 matrices; f16", &[Precision::F16];
    Winograd2 = "winograd2", "Winograd F(2x2, 3x3): 2.25 times fewer multiplications; f32", &[Precision::F32];
    Winograd4 =
        "winograd4", "Winograd F(4x4, 3x3): 4 times fewer multiplications, a digit less exact; f32", &[Precision::F32];
}

impl ConvKernel {
    /// Whether forcing this kernel at this precision changes something on this device.
    pub fn applies(self, precision: Precision, device: &DeviceProfile) -> bool {
        let possible = self != ConvKernel::Cooperative || device.cooperative.is_some();
        possible && self.precisions().contains(&precision)
    }
}
