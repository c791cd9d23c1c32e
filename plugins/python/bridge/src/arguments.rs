//! What Python's `queue` and `threading` take for `block` and `timeout`, with the errors that they raise.

use std::convert::Infallible;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::host::Wait;

/// An argument that is looked at as `if` looks at it.
pub(crate) struct Truth(pub(crate) bool);

impl<'py> FromPyObject<'_, 'py> for Truth {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        object.is_truthy().map(Truth)
    }
}

/// An argument that may be anything; `None` is as good as none.
pub(crate) struct Timeout<'py>(Option<Bound<'py, PyAny>>);

impl<'py> FromPyObject<'_, 'py> for Timeout<'py> {
    type Error = Infallible;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> Result<Self, Infallible> {
        Ok(Timeout((!object.is_none()).then(|| object.to_owned())))
    }
}

impl Timeout<'_> {
    /// For a signature's default.
    pub(crate) const NONE: Self = Timeout(None);

    /// As a queue takes it: not looked at without `block`, and never negative.
    pub(crate) fn of_queue(&self, block: &Truth) -> PyResult<Wait> {
        if !block.0 {
            return Ok(Wait::For(0));
        }
        match self.seconds()? {
            Some(seconds) if seconds < 0.0 => Err(PyValueError::new_err("'timeout' must be a non-negative number")),
            seconds => Ok(wait(seconds)),
        }
    }

    /// As an event takes it: a negative one has passed.
    pub(crate) fn of_event(&self) -> PyResult<Wait> {
        self.seconds().map(wait)
    }

    fn seconds(&self) -> PyResult<Option<f64>> {
        let Some(timeout) = &self.0 else { return Ok(None) };
        let seconds: f64 = timeout.extract()?;
        if seconds.is_nan() {
            return Err(PyValueError::new_err("Invalid value NaN (not a number)"));
        }
        Ok(Some(seconds))
    }
}

/// A time that no clock counts to is no end.
fn wait(seconds: Option<f64>) -> Wait {
    match seconds.map(|seconds| seconds * 1e9) {
        Some(nanoseconds) if nanoseconds < u64::MAX as f64 => Wait::For(nanoseconds.max(0.0).ceil() as u64),
        _ => Wait::Forever,
    }
}
