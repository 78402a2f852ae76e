//! Starts the command line of the library; everything else is in `cli`.

fn main() -> std::process::ExitCode {
    bandmaster::cli::main()
}
