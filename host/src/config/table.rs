//! The shape of the table of variables: one entry declares a variable, its flag, its field and its documentation.
//! What enters is the entries of `vars.rs`; what leaves is a `Config` struct, its reader and `TABLE`.
//! Never reads a value itself.

use std::sync::LazyLock;

use super::kind::Accepts;

/// All that is known of one variable before its value is.
pub struct Var {
    /// The environment variable.
    pub name: &'static str,
    /// The flag, without its dashes; made from the name.
    pub flag: LazyLock<String>,
    /// What applies when it is unset, as one would write it; empty when nothing does.
    pub default: &'static str,
    /// The default's unit, or empty.
    pub unit: &'static str,
    /// What it accepts.
    pub kind: &'static dyn Accepts,
    /// The heading under which it is shown.
    pub group: &'static str,
    /// What it does, in one line.
    pub help: &'static str,
    /// Why the default is what it is.
    pub why: &'static str,
    /// A secret has no flag (other users can see flags), and its value is never shown.
    pub secret: bool,
    /// Other names for it, looked at when nothing stands under the first.
    pub also: &'static [&'static str],
}

impl Var {
    /// The default with its unit: `4 s`; `unset` when there is none.
    pub fn default_text(&self) -> String {
        match (self.default, self.unit) {
            ("", _) => "unset".to_owned(),
            (default, "") => default.to_owned(),
            (default, unit) => format!("{default} {unit}"),
        }
    }
}

/// `PUSH_INTERVAL_S` is `push-interval-s`.
pub(crate) fn kebab(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

/// Makes of the entries, each group of them below its `["Heading"]`: a static [`Var`] each, `TABLE` of all of them, `Config` with a field each, and its reader.
macro_rules! settings {
    ($(
        [$group:literal]
        $($name:ident {
            field: $field:ident: $type:ty,
            kind: $kind:expr,
            default: $default:literal,
            unit: $unit:literal,
            help: $help:literal,
            why: $why:literal,
            $(secret: $secret:literal,)?
            $(also: $also:literal,)?
        })*
    )*) => {
        $($(
            #[doc = $help]
            pub static $name: $crate::config::Var = $crate::config::Var {
                name: stringify!($name),
                flag: std::sync::LazyLock::new(|| $crate::config::table::kebab(stringify!($name))),
                default: $default,
                unit: $unit,
                kind: &$kind,
                group: $group,
                help: $help,
                why: $why,
                secret: false $(|| $secret)?,
                also: &[$($also)?],
            };
        )*)*

        /// Every variable, in the order in which they are shown.
        pub static TABLE: &[&$crate::config::Var] = &[$($(&$name,)*)*];

        /// The configuration of a run: every value typed, within its bounds, and ready to use.
        #[derive(Clone, Debug)]
        pub struct Config {
            $($(
                #[doc = $help]
                pub $field: $type,
            )*)*
            /// All of them as they are in force, in the order of the table, without secrets.
            pub shown: Vec<$crate::config::Shown>,
        }

        impl Config {
            /// Reads every variable, so that `reader` meets every mistake; `None` when there was one.
            pub(super) fn read(reader: &mut $crate::config::Reader<'_>) -> Option<Self> {
                $($(let $field = reader.read(&$name, &$kind);)*)*
                Some(Config { $($($field: $field?,)*)* shown: std::mem::take(&mut reader.shown) })
            }
        }
    };
}
