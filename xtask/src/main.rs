//! Build, set-up, test and demo commands of the repository: `cargo xtask <command>`.

mod bench;
mod build;
mod build_ebpf;
mod command;
mod debian;
mod demo;
mod dist;
mod escape;
mod image;
mod kernels;
mod performance;
mod setup;
mod test;
mod undo;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Everything CI and a developer need, as one command each
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the BPF object on its pinned nightly: target/bpf/airgap-ebpf.o
    BuildEbpf,
    /// Build the BPF object, then the release binary `airgap` that embeds it
    Build {
        /// Link statically with musl: one file that runs on any Linux
        #[arg(long = "static")]
        fixed: bool,
    },
    /// Install and start what a fresh Debian or Ubuntu lacks (root); a second run changes nothing
    Setup,
    /// Run every check and test (root), ending with the line `N passed, N failed`
    Test {
        /// Only tests whose name contains this; skips the format and lint checks
        filter: Option<String>,
    },
    /// Try every known way out of a container that is unsealed, sealed, behind iptables rules, on an
    /// internal network, and print who held what (root)
    Escape {
        /// One JSON object a technique instead of the table
        #[arg(long)]
        json: bool,
    },
    /// Load and test the gate on other Linux kernels, in QEMU: `N passed, N failed` kernels
    Kernels {
        /// Only this kernel: a series such as 6.12, or `newest`; may be repeated
        /// [default: 5.10, 6.1, 6.12, 6.16 and newest, and some without LSM or frame layer]
        #[arg(long = "kernel", value_name = "NAME")]
        names: Vec<String>,
        /// Write what covers which vector on each of them to docs/KERNELS.md; with --engine, how the
        /// tests did to docs/KERNELS-ENGINE.md
        #[arg(long)]
        table: bool,
        /// Instead of the tests without Docker: the core of the end-to-end tests, in a machine with
        /// systemd and Docker, a quarter of an hour each; `test` leaves them out
        /// [default: 6.1 and 6.12]
        #[arg(long)]
        engine: bool,
    },
    /// Reboot a machine with systemd and Docker, in QEMU, and see that a sealed container that the
    /// engine starts again sends nothing (up to seven minutes; `test` leaves it out)
    Reboot {
        /// A series such as 6.12
        #[arg(long, value_name = "NAME", default_value = "6.12")]
        kernel: String,
    },
    /// Seal systemd units, Debian's nginx among them, in QEMU: restarts, a reboot, ways around
    /// (root; `test` leaves it out)
    Units {
        /// Only this suite: bookworm, trixie or sid; may be repeated [default: trixie]
        #[arg(long = "suite", value_name = "SUITE")]
        suites: Vec<String>,
        /// Boot this kernel instead of the suite's own: a series such as 6.12, `newest`, or one
        /// of these with -nolsm, without BPF LSM
        #[arg(long, value_name = "NAME")]
        kernel: Option<String>,
        /// Write what was seen to docs/UNITS.md
        #[arg(long)]
        table: bool,
    },
    /// Run one list of everyday scenarios on the engines of Debian 12, 13 and sid, in QEMU, with
    /// systemd and cgroup v2 alone (root; half an hour each; `test` leaves it out)
    Engines {
        /// Only this suite: bookworm, trixie or sid; may be repeated
        #[arg(long = "suite", value_name = "SUITE")]
        suites: Vec<String>,
        /// Only this engine: docker or podman; may be repeated
        #[arg(long = "engine", value_name = "ENGINE")]
        engines: Vec<String>,
        /// Boot this kernel instead of the suite's own: a series such as 6.12, `newest`, or one
        /// of these with -nolsm, without BPF LSM
        #[arg(long, value_name = "NAME")]
        kernel: Option<String>,
        /// Only scenarios whose name contains one of these, by commas
        #[arg(long, value_name = "WORDS")]
        only: Option<String>,
        /// Write what was seen to docs/ENGINES.md
        #[arg(long)]
        table: bool,
    },
    /// Make the Debian package, and install, upgrade, remove and purge it in machines of Debian 12,
    /// 13 and sid, in QEMU, while a container is sealed (root; ten minutes each; `test` leaves it
    /// out)
    Packages {
        /// Only this suite: bookworm, trixie or sid; may be repeated
        #[arg(long = "suite", value_name = "SUITE")]
        suites: Vec<String>,
    },
    /// Measure what a seal costs beside other means, and write docs/PERFORMANCE.md (root)
    Bench {
        /// Instead of by the clock: count instructions, in emulated machines, for the first part of
        /// docs/PERFORMANCE.md (a quarter of an hour)
        #[arg(long)]
        exact: bool,
        /// Which kernel counts: a series such as 6.12
        #[arg(long, value_name = "NAME", default_value = "6.12", requires = "exact")]
        kernel: String,
        /// Only hold what has a budget against performance/budget.toml, as `test` does
        #[arg(long, conflicts_with = "exact")]
        budget: bool,
        /// Count that, and write performance/budget.toml
        #[arg(long, conflicts_with_all = ["exact", "budget"])]
        write_budget: bool,
        /// Count only what these words say, once, and print it: setups=A,B operations=A,B
        /// families=4,6
        /// runs=N; with programs=1, what each of the gate's programs takes of an operation
        #[arg(long, value_name = "WORDS", conflicts_with_all = ["exact", "budget", "write_budget"])]
        only: Option<String>,
        /// Times that each set-up is measured
        #[arg(long, default_value_t = 7)]
        rounds: u32,
        /// Seconds of each load
        #[arg(long, default_value_t = 2)]
        seconds: u32,
        /// Only this part: attach, denial, reply or growth; may be repeated
        #[arg(long = "part", value_name = "PART")]
        parts: Vec<String>,
        /// The figures as JSON on stdout instead of the limits
        #[arg(long)]
        json: bool,
    },
    /// Make what is released, below target/dist: a static binary, .deb, .rpm, an SBOM, their sums
    Dist,
    /// Make an OCI image of the static binary, for the DaemonSet: an archive that ctr, podman and
    /// docker load take
    Image {
        /// Take this static `airgap` binary instead of building one
        #[arg(long, value_name = "PATH")]
        airgap: Option<PathBuf>,
        /// Where the archive goes [default: below target/image]
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// What the image is called
        #[arg(long, value_name = "NAME:TAG", default_value = concat!("registry.example.org/airgap:", env!("CARGO_PKG_VERSION")))]
        name: String,
    },
    /// Show a service that phones home, before and after a seal, then clean up (root)
    Demo {
        /// Use this `airgap` binary instead of building one
        #[arg(long, value_name = "PATH")]
        airgap: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let done = |()| ExitCode::SUCCESS;
    let outcome = match Cli::parse().task {
        Task::BuildEbpf => build_ebpf::run().map(drop).map(done),
        Task::Build { fixed } => build::run(fixed).map(drop).map(done),
        Task::Setup => setup::run().map(done),
        // The summary is the last line; nothing may follow it.
        Task::Test { filter } => {
            test::run(filter.as_deref()).map(|good| ExitCode::from(u8::from(!good)))
        }
        Task::Escape { json } => escape::run(json).map(|good| ExitCode::from(u8::from(!good))),
        Task::Kernels {
            names,
            table,
            engine,
        } => if engine {
            kernels::engine::run(&names, table)
        } else {
            kernels::run(&names, table)
        }
        .map(|good| ExitCode::from(u8::from(!good))),
        Task::Reboot { kernel } => {
            kernels::reboot::run(&kernel).map(|good| ExitCode::from(u8::from(!good)))
        }
        Task::Units {
            suites,
            kernel,
            table,
        } => kernels::units::run(&suites, kernel.as_deref(), table)
            .map(|good| ExitCode::from(u8::from(!good))),
        Task::Engines {
            suites,
            engines,
            kernel,
            only,
            table,
        } => kernels::engines::run(&suites, &engines, kernel.as_deref(), only.as_deref(), table)
            .map(|good| ExitCode::from(u8::from(!good))),
        Task::Packages { suites } => {
            kernels::packages::run(&suites).map(|good| ExitCode::from(u8::from(!good)))
        }
        Task::Bench {
            exact: true,
            kernel,
            ..
        } => kernels::count::run(&kernel).map(done),
        Task::Bench {
            only: Some(words), ..
        } => kernels::count::only(&words).map(done),
        Task::Bench {
            budget,
            write_budget,
            ..
        } if budget || write_budget => {
            kernels::count::budget(write_budget).map(|good| ExitCode::from(u8::from(!good)))
        }
        Task::Bench {
            rounds,
            seconds,
            parts,
            json,
            ..
        } => bench::run(rounds, seconds, &parts, json).map(done),
        Task::Dist => dist::run().map(|_| ExitCode::SUCCESS),
        Task::Image {
            airgap,
            output,
            name,
        } => dist::image::run(airgap, output, &name).map(done),
        Task::Demo { airgap } => demo::run(airgap).map(done),
    };
    outcome.unwrap_or_else(|error| {
        report(&error);
        ExitCode::FAILURE
    })
}

/// Prints the error, what caused it, and last, from whichever level, the hints.
fn report(error: &anyhow::Error) {
    let (mut lead, mut hints) = ("error: ", Vec::new());
    for level in error.chain() {
        let text = level.to_string();
        let (message, hint) = match text.split_once("\nhint: ") {
            Some((message, hint)) => (message, Some(hint.to_owned())),
            None => (text.as_str(), None),
        };
        eprintln!("{lead}{message}");
        hints.extend(hint);
        lead = "caused by: ";
    }
    for hint in hints {
        eprintln!("hint: {hint}");
    }
}
