//! Existing Python clients under the bridge.

mod cpython;
