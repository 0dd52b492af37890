//! `with_` setters for option structs. Those structs are `#[non_exhaustive]`, so programs start from a default and
//! change what they need.

/// Implements setters: `setters!(Type { with_field(field: FieldType), ... })`, where the field's type may be
/// `impl Into` of it.
macro_rules! setters {
    ($type:ident { $($setter:ident($field:ident: $value:ty)),* $(,)? }) => {
        impl $type {
            $(
                #[doc = concat!("The same with another [`", stringify!($field), "`](Self::", stringify!($field), ").")]
                #[must_use]
                pub fn $setter(mut self, $field: $value) -> Self {
                    self.$field = $field.into();
                    self
                }
            )*
        }
    };
}
