//! `airgap`: parse, run, say what went wrong.

use std::{io::Write as _, process::ExitCode};

use airgap::{cli::Cli, failure, notation::escape};
use clap::Parser as _;

/// musl's own gives pages back to the kernel at every turn.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// Messages go to stderr: results are on stdout and can be piped.
struct Stderr;

impl log::Log for Stderr {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("airgap") || metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let prefix = match record.level() {
                log::Level::Error => "error: ",
                log::Level::Warn => "warning: ",
                _ => "",
            };
            let text = record.args().to_string();
            let _ = writeln!(std::io::stderr(), "{prefix}{}", escape(&text));
        }
    }

    fn flush(&self) {}
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(match airgap::gate::bpf_log_level() {
            0 => log::LevelFilter::Info,
            _ => log::LevelFilter::Trace,
        });
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(cli.run()),
        Err(error) => Err(error.into()),
    };
    result.unwrap_or_else(|error| {
        let (text, code) = failure::render(&error);
        let _ = std::io::stderr().write_all(text.as_bytes());
        code
    })
}
