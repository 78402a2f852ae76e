//! Parse, dispatch, exit code.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
