//! The driver's library: found and initialised when the plugin runs, and nothing of it needed when it is built.
//!
//! Enters: NVML_LIBRARY. Leaves: an initialised NVML, or one line that says what was looked for and what to do. Dropped, it is
//! shut down and the library closed, so that the next one may be a newer file.

use std::ffi::OsStr;

use monitor_plugin_api::Error;
use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;

use crate::code::Code;

/// Where the library is.
#[derive(Clone, Debug)]
pub(crate) struct Library(pub(crate) String);

/// Why there is no NVML.
#[derive(Debug)]
pub(crate) struct Missing {
    pub(crate) code: Code,
    why: String,
}

const IN_A_CONTAINER: &str =
    "in a container, the host needs NVIDIA's container toolkit, and the container the option --gpus all";

impl Library {
    /// Opens and initialises it. With GPUs that nobody keeps awake, that may take seconds.
    ///
    /// # Errors
    /// The library can't be opened or is none, or there is no driver behind it.
    pub(crate) fn init(&self) -> Result<Nvml, Missing> {
        let path = &self.0;
        let missing = |code, why| Missing { code, why };
        Nvml::builder().lib_path(OsStr::new(path)).init().map_err(|error| match error {
            // Its own text begins with the path.
            NvmlError::LibloadingError(error) => missing(
                Code::of(NvmlError::LibraryNotFound),
                format!(
                    "{} (NVML_LIBRARY={path}); install NVIDIA's driver, which brings it; {IN_A_CONTAINER}",
                    Error::from(error)
                ),
            ),
            NvmlError::FailedToLoadSymbol(why) => missing(
                Code::FUNCTION_NOT_FOUND,
                format!("{path} is no NVML ({why}); let NVML_LIBRARY name libnvidia-ml.so.1 of NVIDIA's driver"),
            ),
            error => {
                let code = Code::of(error);
                let what_to_do = match code {
                    Code::DRIVER_NOT_LOADED => format!("load NVIDIA's kernel module; {IN_A_CONTAINER}"),
                    Code::NO_PERMISSION => "let this user read and write /dev/nvidiactl and /dev/nvidia*".to_owned(),
                    Code::LIB_RM_VERSION_MISMATCH => {
                        "the kernel has another version of the driver: restart the container, or the machine".to_owned()
                    }
                    _ => "see what nvidia-smi says on this machine".to_owned(),
                };
                missing(code, format!("{path} was opened, but can't be initialised: {code}; {what_to_do}"))
            }
        })
    }

    /// Why a library that works is of no use: it knows no GPU.
    pub(crate) fn without_gpus(&self) -> Error {
        Error::new(format!(
            "no NVML: {} knows no GPU; see what nvidia-smi says on this machine; {IN_A_CONTAINER}",
            self.0
        ))
    }
}

impl From<Missing> for Error {
    fn from(missing: Missing) -> Self {
        Error::new(format!("no NVML: {}", missing.why))
    }
}
