//! Fuzzes environment variables.

#![cfg_attr(fuzzing, no_main)]

monitor_host_fuzz::program!(SETTINGS);
