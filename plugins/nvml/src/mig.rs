//! The MIG instances of a GPU.
//!
//! Enters: a GPU. Leaves: the instances that it is divided into at present, each with a handle; none where it is not divided.

use monitor_plugin_api::tracing;
use nvml_wrapper::Device;
use nvml_wrapper::error::NvmlError;

use crate::code::Code;
use crate::field::Field;
use crate::gpu::{Gpu, Identity, Instance};
use crate::health::Health;
use crate::history::{Broken, History};

/// What MIG mode is called that is on.
const ON: u32 = 1;

/// The instances of `gpu`.
///
/// # Errors
/// It is gone.
pub(crate) fn instances<'nvml>(
    gpu: &Gpu<'nvml>,
    history: &mut History,
    health: &mut Health,
) -> Result<Vec<(Identity, Device<'nvml>)>, Broken> {
    if history.lacks(Field::Instances) {
        return Ok(Vec::new());
    }
    let device = &gpu.device;
    let places = device.mig_mode().and_then(|mode| if mode.current == ON { device.mig_device_count() } else { Ok(0) });
    let places = history.note(&gpu.identity, health, Field::Instances, places)?;
    let mut found = Vec::new();
    for place in 0..places.unwrap_or(0) {
        let part = device.mig_device_by_index(place).and_then(|part| Ok((part.uuid()?, part.name()?, part)));
        match part {
            Ok((uuid, model, part)) => {
                let [gpu_instance, compute_instance] = numbers(&part);
                let instance = Instance { parent: gpu.identity.uuid.clone(), gpu_instance, compute_instance };
                found.push((Identity { gpu: gpu.identity.gpu, uuid, model, instance: Some(instance) }, part));
            }
            // An empty place.
            Err(NvmlError::NotFound) => {}
            // One that goes at this moment, most likely: the next look shows it.
            Err(error) => tracing::debug!("{}: instance {place}: {}", gpu.identity.name(), Code::of(error)),
        }
    }
    Ok(found)
}

/// GPU instance and compute instance, as `nvidia-smi -L` counts them; empty where NVML does not say.
fn numbers(part: &Device<'_>) -> [String; 2] {
    let lib = part.nvml().lib();
    [lib.nvmlDeviceGetGpuInstanceId.as_ref(), lib.nvmlDeviceGetComputeInstanceId.as_ref()].map(|function| {
        let Ok(function) = function else { return String::new() };
        let mut number = 0;
        // SAFETY: the bindings have found the function by its name, and NVML has given both the same form:
        // (nvmlDevice_t, unsigned int *). The library is open as long as the borrow of `nvml`, the handle came from it, and
        // `number` lives through the call. A handle that is none any more is an error code's case.
        #[allow(unsafe_code, reason = "a call of NVML that the bindings do not wrap")]
        let answer = unsafe { function(part.handle(), &raw mut number) };
        if answer == 0 { number.to_string() } else { String::new() }
    })
}
