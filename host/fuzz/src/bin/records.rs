//! Fuzzes JSON text from a plugin.

#![cfg_attr(fuzzing, no_main)]

monitor_host_fuzz::program!(RECORDS);
