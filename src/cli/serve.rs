//! `serve`: what was typed becomes what the server needs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::error::CliError;
use super::flags::{LogFlag, ServeFlags};
use crate::server::layers::Origins;

const QUEUE_MAX: usize = 1 << 16;
const DRAIN_SECONDS_MAX: u64 = 3600;

/// What the server needs, checked. The band is the configuration's.
#[derive(Debug)]
pub struct ServeOptions {
    /// Where to listen; port 0 takes any that is free.
    pub address: SocketAddr,
    /// Models to load before the first request, as typed.
    pub models: Vec<String>,
    /// The keys; always there when `address` is not loopback.
    pub api_key_file: Option<PathBuf>,
    /// Requests that may wait.
    pub queue_max: usize,
    /// No private socket: nobody joins this server's engine.
    pub standalone: bool,
    /// Pages that may read answers.
    pub origins: Origins,
    /// What running answers get at the end.
    pub drain: Duration,
    /// How the log is written.
    pub log: LogFlag,
}

/// Checks what was typed.
///
/// # Errors
/// [`CliError::Usage`] naming the flag and what to do.
pub fn options(flags: &ServeFlags) -> Result<ServeOptions, CliError> {
    let host = host(&flags.host)?;
    if !host.is_loopback() && flags.api_key_file.is_none() {
        return Err(CliError::usage(format!(
            "--host {}: others can reach this address, so --api-key-file FILE must say who may ask (a line a key; `openssl rand -hex 24` makes one)",
            flags.host
        )));
    }
    if !(1..=QUEUE_MAX).contains(&flags.max_queue) {
        return Err(CliError::usage(format!(
            "--max-queue {}: give a number of requests from 1 to {QUEUE_MAX}",
            flags.max_queue
        )));
    }
    if flags.drain_seconds > DRAIN_SECONDS_MAX {
        return Err(CliError::usage(format!(
            "--drain-seconds {}: give a number of seconds from 0 to {DRAIN_SECONDS_MAX}",
            flags.drain_seconds
        )));
    }
    let origins = Origins::parse(&flags.cors_origins)
        .map_err(|problem| CliError::usage(format!("--cors-origin: {problem}")))?;
    Ok(ServeOptions {
        address: SocketAddr::new(host, flags.port),
        models: flags.models.clone(),
        api_key_file: flags.api_key_file.clone(),
        queue_max: flags.max_queue,
        standalone: flags.standalone,
        origins,
        drain: Duration::from_secs(flags.drain_seconds),
        log: flags.log,
    })
}

/// An address. Names are not looked up: what they stand for can change after it was checked.
fn host(typed: &str) -> Result<IpAddr, CliError> {
    if typed.eq_ignore_ascii_case("localhost") {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    typed.trim_start_matches('[').trim_end_matches(']').parse().map_err(|_| {
        CliError::usage(format!("--host {typed}: give an address, such as 127.0.0.1, ::1 or 0.0.0.0"))
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        flags: ServeFlags,
    }

    fn typed(words: &[&str]) -> Result<ServeOptions, String> {
        let typed = Typed::try_parse_from([&["serve"], words].concat()).map_err(|error| error.to_string())?;
        options(&typed.flags).map_err(|error| match error {
            CliError::Usage(message) => message,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn nothing_typed_is_loopback_without_a_key() {
        let options = typed(&[]).unwrap();
        assert_eq!(options.address, "127.0.0.1:8080".parse().unwrap());
        assert_eq!((options.queue_max, options.drain), (256, Duration::from_secs(30)));
        assert_eq!((options.standalone, options.log), (false, LogFlag::Text));
        assert_eq!((options.api_key_file, options.models), (None, Vec::new()));
        assert_eq!(options.origins, Origins::default());
    }

    #[test]
    fn address_is_host_and_port() {
        let check = |words: &[&str], expected: &str| {
            assert_eq!(typed(words).unwrap().address, expected.parse().unwrap(), "{words:?}");
        };
        check(&["--port", "0"], "127.0.0.1:0");
        check(&["--host", "LocalHost"], "127.0.0.1:8080");
        check(&["--host", "127.1.2.3"], "127.1.2.3:8080");
        check(&["--host", "::1"], "[::1]:8080");
        check(&["--host", "[::1]"], "[::1]:8080");
        check(&["--host", "0.0.0.0", "--api-key-file", "keys"], "0.0.0.0:8080");
        check(&["--host", "::", "--api-key-file", "keys"], "[::]:8080");
    }

    #[test]
    fn wrong_usage_names_the_flag_and_the_way_out() {
        let check = |words: &[&str], expected: &[&str]| {
            let message = typed(words).map(|_| ()).unwrap_err();
            for part in expected {
                assert!(message.contains(part), "{message:?} lacks {part:?}");
            }
        };
        for open in ["0.0.0.0", "::", "192.168.1.2", "::ffff:1.2.3.4"] {
            check(&["--host", open], &["--host", open, "--api-key-file", "openssl"]);
        }
        check(&["--host", "example.com"], &["--host example.com", "127.0.0.1"]);
        check(&["--host", ""], &["--host", "127.0.0.1"]);
        check(&["--port", "65536"], &["--port"]);
        check(&["--max-queue", "0"], &["--max-queue 0", "from 1 to 65536"]);
        check(&["--drain-seconds", "86400"], &["--drain-seconds 86400", "3600"]);
        check(&["--cors-origin", "example.com"], &["--cors-origin", "`example.com`", "https://"]);
        check(&["--log", "xml"], &["--log", "text", "json"]);
    }
}
