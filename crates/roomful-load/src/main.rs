//! The program; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    roomful_load::run(std::env::args_os())
}
