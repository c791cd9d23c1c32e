//! Fuzzes files of a spool.

#![cfg_attr(fuzzing, no_main)]

monitor_host_fuzz::program!(SPOOL);
