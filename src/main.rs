//! `tallygate`: reads the command line, runs the command, and exits with its exit code.

use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use tallygate::{app, cli};

/// The allocator of musl is slow, above all with several threads.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let (args, environment) = (std::env::args_os().skip(1), std::env::vars_os());
    let done = match cli::run(args, environment, &mut stdout(), &mut stderr()) {
        cli::Outcome::Exit(code) => return ExitCode::from(code),
        cli::Outcome::Serve(config, sources) => {
            app::run(*config, sources).inspect_err(|error| tracing::error!("{error}"))
        }
        cli::Outcome::Import(config, origin) => {
            app::import_groups(&config, &origin, &mut stdout()).inspect_err(complain)
        }
        cli::Outcome::Store(config, action) => {
            app::store::run(&config, &action, &mut stdout().lock()).inspect_err(complain)
        }
    };
    ExitCode::from(if done.is_ok() { 0 } else { cli::EXIT_FAILURE })
}

fn complain(error: &app::RunError) {
    let _nobody_left = writeln!(stderr(), "tallygate: {error}");
}
