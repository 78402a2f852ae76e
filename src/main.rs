//! Parse, dispatch, exit code.

fn main() -> std::process::ExitCode {
    bandmaster::cli::main()
}
