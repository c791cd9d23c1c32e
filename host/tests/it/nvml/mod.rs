//! The NVML plugin beside a library that plays NVML: what the driver shows is what arrives, whatever GPUs and driver do.

mod errors;
pub(crate) mod rig;
mod values;
