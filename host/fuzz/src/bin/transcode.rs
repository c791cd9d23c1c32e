//! Fuzzes 2.0 messages made into 1.0.

#![cfg_attr(fuzzing, no_main)]

monitor_host_fuzz::program!(TRANSCODE);
