//! Finds nothing but the bug that was put there: whoever does not find it fuzzes blindly.

#![cfg_attr(fuzzing, no_main)]

monitor_host_fuzz::program!(PLANTED);
