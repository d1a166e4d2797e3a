//! `cargo xtask bench --exact`: what a seal costs, in instructions. The clock of an emulated
//! machine is its only processor's instructions; idle time is skipped, and what the host does
//! meanwhile does not matter.

mod budget;
mod figures;
mod limits;
mod luggage;
mod page;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use super::guest;
use super::lab::Lab;
use super::machine::Machine;
use super::package::{self, Boot, Kernel};
use crate::performance;
use figures::Figures;

/// For one boot; four to eight minutes when measured, two at once.
const LIMIT: Duration = Duration::from_secs(2400);

/// What two boots that draw differently agree in is no chance.
const SEEDS: [u32; 2] = [1, 2];

/// Whose budget every test run checks.
const SHORT: &str = "setups=unsealed,sealed,from,beside families=4 runs=2 \
                     operations=kept,fresh-client,small,connect,send,socket,loop-kept";
const BUDGET_KERNEL: &str = "6.12";

/// Counts all operations in all set-ups, with and without BPF LSM, and writes the tables into
/// `docs/PERFORMANCE.md`.
///
/// # Errors
/// For a name that is no kernel, when something cannot be built or installed, and when a machine
/// does not come to its end.
pub(crate) fn run(kernel: &str) -> Result<()> {
    let without = format!("{kernel}-nolsm");
    let boots = [Boot::new(kernel)?, Boot::new(&without)?];
    let counting = Counting::prepare(kernel, true, "runs=3")?;
    let mut all = Vec::new();
    for boot in boots {
        println!("counting on {}, twice at once", boot.name);
        let [first, second] = thread::scope(|scope| {
            let counting = &counting;
            let start = |seed| scope.spawn(move || counting.boot(boot, seed));
            let machines = SEEDS.map(start);
            machines.map(|machine| {
                machine
                    .join()
                    .unwrap_or_else(|p| std::panic::resume_unwind(p))
            })
        });
        all.push((boot.name, [first?, second?]));
    }
    let text = page::text(&counting.kernel.full_release(), &all);
    let path = performance::write(&counting.lab.root, &text)?;
    print!("{text}");
    println!("written: {}", path.display());
    Ok(())
}

/// Counts what `words` say, as `airgap-count drive` takes them, on the budget's kernel, and
/// prints it; writes nothing.
///
/// # Errors
/// As [`run`].
pub(crate) fn only(words: &str) -> Result<()> {
    let counting = Counting::prepare(BUDGET_KERNEL, words.contains("tables"), words)?;
    let output = counting.output(Boot::new(BUDGET_KERNEL)?, SEEDS[0])?;
    if words.contains("programs=1") {
        let programs = output.lines().filter_map(|l| l.strip_prefix("program: "));
        programs.for_each(|line| println!("{}", line.trim_end()));
        return Ok(());
    }
    let figures = Figures::parse(&output)?;
    for ((setup, operation, family), count) in figures.iter() {
        println!("{setup}, {operation}, IPv{family}: {count:.0}");
    }
    Ok(())
}

/// Counts what has a budget, and holds it against `performance/budget.toml`, or writes that anew.
/// Returns whether all is within.
///
/// # Errors
/// As [`run`], and when the file cannot be read or written.
pub(crate) fn budget(write: bool) -> Result<bool> {
    let counting = Counting::prepare(BUDGET_KERNEL, false, SHORT)?;
    let figures = counting.boot(Boot::new(BUDGET_KERNEL)?, SEEDS[0])?;
    let release = counting.kernel.full_release();
    if write {
        let path = budget::write(&counting.lab.root, &release, &figures)?;
        println!("written: {}", path.display());
        return Ok(true);
    }
    let budget = budget::Budget::read(&counting.lab.root)?;
    if let Some(note) = budget.note(&release) {
        println!("{note}");
    }
    let verdicts = budget.hold(&figures);
    for verdict in &verdicts {
        println!("{verdict}");
    }
    let over = verdicts
        .iter()
        .filter(|verdict| !verdict.is_within())
        .count();
    // In libtest's words, which `test` adds up.
    let word = if over == 0 { "ok" } else { "FAILED" };
    println!(
        "test result: {word}. {} passed; {over} failed",
        verdicts.len() - over
    );
    Ok(over == 0)
}

/// A kernel, and the initial file system with what counts.
struct Counting {
    lab: Lab,
    kernel: Kernel,
    image: PathBuf,
    initramfs: PathBuf,
}

impl Counting {
    /// `words`: what `airgap-count drive` is told.
    fn prepare(series: &str, firewalls: bool, words: &str) -> Result<Self> {
        let lab = Lab::open()?;
        let kernels = package::kernels(&lab.archive.index()?);
        let kernel = package::choose(&kernels, series)?.clone();
        let image = lab.archive.image(&kernel)?;
        let modules = luggage::modules(firewalls)
            .map(|name| Ok((name, lab.archive.module(&kernel, name)?)))
            .collect::<Result<Vec<_>>>()?;
        let base = lab.cache.join("initramfs-count");
        luggage::write(&lab.root, &lab.host, firewalls, words, &base)?;
        let initramfs = base.with_extension("whole");
        guest::with_modules(&base, &modules, &initramfs)?;
        Ok(Self {
            lab,
            kernel,
            image,
            initramfs,
        })
    }

    fn boot(&self, boot: Boot<'_>, seed: u32) -> Result<Figures> {
        Figures::parse(&self.output(boot, seed)?)
    }

    /// What the machine printed.
    fn output(&self, boot: Boot<'_>, seed: u32) -> Result<String> {
        let ran = Machine {
            host: &self.lab.host,
            kernel: &self.image,
            initramfs: &self.initramfs,
            arguments: &boot.arguments(),
            disks: &[],
            restarts: false,
            counting: Some(seed),
            limit: LIMIT,
            log: self.lab.log(&format!("count-{}-{seed}", boot.name)),
        }
        .run()?;
        let is_whole = ran
            .output
            .lines()
            .any(|line| line.trim_end() == "guest: exit 0");
        if !is_whole {
            bail!(
                "the counting machine did not come to its end:\n{}\nthe kernel's messages: {}",
                ran.output,
                ran.console.display()
            );
        }
        Ok(ran.output)
    }
}

/// Where the budget is, below the repository's root.
fn budget_path(root: &Path) -> PathBuf {
    root.join("performance/budget.toml")
}
