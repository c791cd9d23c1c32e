//! What the fuzz targets' programs have in common; each is one line that names its target.
//!
//! Built with `--cfg fuzzing` and LLVM's coverage, as `cargo xtask long fuzz` does, such a program is libFuzzer. Built in any
//! other way it runs its target on the files that it is given, once each: for a debugger, or for a machine without C++.
//!
//! What the targets do and what they check stands in the host's library and in the plugins', beside the code that they are for.

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use fuzz::Target;

/// All targets, and the planted bug.
pub mod fuzz {
    use monitor_scrape::exposition::testing::fuzz::{run, seeds, words};

    pub use monitor_host::fuzz::*;

    /// What `plugins/scrape` reads.
    pub static EXPOSITION: Target = Target { name: "exposition", run, seeds, words };
}

/// The program of one target of [`fuzz`].
#[macro_export]
macro_rules! program {
    ($target:ident) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(
            init: $crate::prepare(&$crate::fuzz::$target),
            |input: &[u8]| ($crate::fuzz::$target.run)(input)
        );

        #[cfg(not(fuzzing))]
        fn main() -> std::process::ExitCode {
            $crate::replay(&$crate::fuzz::$target)
        }
    };
}

/// Writes the target's seeds into the folder FUZZ_CORPUS and its words into the file FUZZ_WORDS, for libFuzzer to read.
pub fn prepare(target: &Target) {
    let write = |path: &Path, bytes: &[u8]| {
        fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", Path::new(&path).display()));
    };
    if let Some(corpus) = env::var_os("FUZZ_CORPUS") {
        for (number, seed) in (target.seeds)().iter().enumerate() {
            write(&Path::new(&corpus).join(format!("seed-{number:03}")), seed);
        }
    }
    if let Some(words) = env::var_os("FUZZ_WORDS") {
        // libFuzzer takes no empty file.
        let mut text = format!("# {}\n", target.name);
        for word in (target.words)() {
            let bytes: String = word.iter().map(|byte| format!("\\x{byte:02x}")).collect();
            text += &format!("\"{bytes}\"\n");
        }
        write(Path::new(&words), text.as_bytes());
    }
}

/// Runs the target on each file that is named on the command line.
pub fn replay(target: &Target) -> ExitCode {
    for path in env::args_os().skip(1) {
        match fs::read(&path) {
            Ok(input) => (target.run)(&input),
            Err(error) => {
                eprintln!("{}: {error}", Path::new(&path).display());
                return ExitCode::FAILURE;
            }
        }
        eprintln!("{}: nothing wrong", Path::new(&path).display());
    }
    ExitCode::SUCCESS
}
