//! Fuzzes a receiver's answers.

#![cfg_attr(fuzzing, no_main)]

monitor_host_fuzz::program!(ANSWERS);
