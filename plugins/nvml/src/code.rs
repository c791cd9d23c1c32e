//! What NVML answers when it gives no value: its name, and what follows from it.
//!
//! Enters: an error of the bindings. Leaves: a code that can be compared, counted and named as NVIDIA's documentation names it.

use std::fmt;

use nvml_wrapper::error::NvmlError;

/// NVML's own number of an error (`nvmlReturn_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Code(u32);

/// What follows from an error of a call about one GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// This GPU, or this driver, will never answer: there is no point in asking again.
    Unsupported,
    /// The GPU is gone.
    Lost,
    /// The driver is gone: NVML has to be initialised again.
    Restart,
    /// Whatever it was, the next reading may succeed.
    Passing,
}

impl Code {
    pub(crate) const INVALID_ARGUMENT: Code = Code(2);
    pub(crate) const NOT_SUPPORTED: Code = Code(3);
    pub(crate) const NO_PERMISSION: Code = Code(4);
    pub(crate) const DRIVER_NOT_LOADED: Code = Code(9);
    pub(crate) const FUNCTION_NOT_FOUND: Code = Code(13);
    pub(crate) const LIB_RM_VERSION_MISMATCH: Code = Code(18);

    /// The code of an error of the bindings.
    pub(crate) fn of(error: NvmlError) -> Self {
        match error {
            // The library is older than the function.
            NvmlError::FailedToLoadSymbol(_) => Code::FUNCTION_NOT_FOUND,
            // The bindings' own errors become UNKNOWN.
            other => Code(other.into()),
        }
    }

    /// What follows from it.
    pub(crate) fn fate(self) -> Fate {
        match self.0 {
            // NOT_SUPPORTED, FUNCTION_NOT_FOUND, ARGUMENT_VERSION_MISMATCH, DEPRECATED
            3 | 13 | 25 | 26 => Fate::Unsupported,
            // GPU_IS_LOST, RESET_REQUIRED, GPU_NOT_FOUND
            15 | 16 | 28 => Fate::Lost,
            // UNINITIALIZED, DRIVER_NOT_LOADED, LIB_RM_VERSION_MISMATCH
            1 | 9 | 18 => Fate::Restart,
            _ => Fate::Passing,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            1 => "UNINITIALIZED",
            2 => "INVALID_ARGUMENT",
            3 => "NOT_SUPPORTED",
            4 => "NO_PERMISSION",
            5 => "ALREADY_INITIALIZED",
            6 => "NOT_FOUND",
            7 => "INSUFFICIENT_SIZE",
            8 => "INSUFFICIENT_POWER",
            9 => "DRIVER_NOT_LOADED",
            10 => "TIMEOUT",
            11 => "IRQ_ISSUE",
            12 => "LIBRARY_NOT_FOUND",
            13 => "FUNCTION_NOT_FOUND",
            14 => "CORRUPTED_INFOROM",
            15 => "GPU_IS_LOST",
            16 => "RESET_REQUIRED",
            17 => "OPERATING_SYSTEM",
            18 => "LIB_RM_VERSION_MISMATCH",
            19 => "IN_USE",
            20 => "MEMORY",
            21 => "NO_DATA",
            22 => "VGPU_ECC_NOT_SUPPORTED",
            23 => "INSUFFICIENT_RESOURCES",
            24 => "FREQ_NOT_SUPPORTED",
            25 => "ARGUMENT_VERSION_MISMATCH",
            26 => "DEPRECATED",
            27 => "NOT_READY",
            28 => "GPU_NOT_FOUND",
            29 => "INVALID_STATE",
            999 => "UNKNOWN",
            other => return write!(f, "CODE_{other}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_keep_their_numbers() {
        for (error, code, fate) in [
            (NvmlError::NotSupported, "NOT_SUPPORTED", Fate::Unsupported),
            (NvmlError::FailedToLoadSymbol("x".into()), "FUNCTION_NOT_FOUND", Fate::Unsupported),
            (NvmlError::UnexpectedVariant(25), "ARGUMENT_VERSION_MISMATCH", Fate::Unsupported),
            (NvmlError::GpuLost, "GPU_IS_LOST", Fate::Lost),
            (NvmlError::UnexpectedVariant(28), "GPU_NOT_FOUND", Fate::Lost),
            (NvmlError::Uninitialized, "UNINITIALIZED", Fate::Restart),
            (NvmlError::LibRmVersionMismatch, "LIB_RM_VERSION_MISMATCH", Fate::Restart),
            (NvmlError::Timeout, "TIMEOUT", Fate::Passing),
            (NvmlError::UnexpectedVariant(77), "CODE_77", Fate::Passing),
            (NvmlError::Unknown, "UNKNOWN", Fate::Passing),
        ] {
            let found = Code::of(error);
            assert_eq!((found.to_string().as_str(), found.fate()), (code, fate));
        }
    }
}
