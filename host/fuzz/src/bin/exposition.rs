//! Fuzzes the text of a scrape.

#![cfg_attr(fuzzing, no_main)]

monitor_host_fuzz::program!(EXPOSITION);
