//! Fuzzes a plugin's file.

#![cfg_attr(fuzzing, no_main)]

monitor_host_fuzz::program!(PREFLIGHT);
