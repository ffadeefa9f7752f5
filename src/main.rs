//! `tallygate`: reads the command line, runs the command, ends with its exit code.

use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use tallygate::{app, cli};

/// That of musl is slow, above all with several threads.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let (args, environment) = (std::env::args_os().skip(1), std::env::vars_os());
    match cli::run(args, environment, &mut stdout(), &mut stderr()) {
        cli::Outcome::Exit(code) => ExitCode::from(code),
        cli::Outcome::Import(config, origin) => match app::import_groups(&config, &origin) {
            Ok(report) => {
                let _reader_gone = stdout().write_all(report.as_bytes());
                ExitCode::SUCCESS
            }
            Err(error) => {
                let _reader_gone = writeln!(stderr(), "tallygate: {error}");
                ExitCode::from(cli::EXIT_FAILURE)
            }
        },
        cli::Outcome::Store(config, action) => {
            match app::store::run(&config, &action, &mut stdout().lock()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    let _nobody_left = writeln!(stderr(), "tallygate: {error}");
                    ExitCode::from(cli::EXIT_FAILURE)
                }
            }
        }
        cli::Outcome::Serve(config, sources) => match app::run(*config, sources) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!("{error}");
                ExitCode::from(cli::EXIT_FAILURE)
            }
        },
    }
}
