//! Fuzzes requests to the receiver.

#![cfg_attr(fuzzing, no_main)]

monitor_host_fuzz::program!(RECEIVE);
