//! `docs/KERNELS.md`: on which kernel what covers which vector, as the product said there.

use std::fmt::Write as _;

use super::outcome::{Outcome, Vector};

/// A line of the page that is no vector.
type Fact = (&'static str, fn(&Outcome) -> String);

/// The page of kernels that ran, by the names they were asked for.
pub(super) fn page(kernels: &[(&str, &Outcome)]) -> String {
    let mut page = String::from(
        "# Kernels\n\nWritten by `cargo xtask kernels --table`; nothing here is typed by hand. Each \
         kernel ran in an emulated machine with cgroup v2 alone: the kernel tests, then a \
         container-like process with Docker's default capabilities and one veth, which was \
         attached while it ran, verified, asked 1,000 times and detached. Cells are what `airgap \
         attach` said there.\n\n",
    );
    row(
        &mut page,
        "",
        kernels.iter().map(|(name, _)| (*name).to_owned()),
    );
    row(&mut page, "---", kernels.iter().map(|_| "---".to_owned()));
    let facts: [Fact; 3] = [
        ("release", |o| o.release.clone().unwrap_or_default()),
        ("tests", |o| {
            format!("{} of {}", o.passed, o.passed + o.failed)
        }),
        ("proven by `airgap verify`", |o| {
            o.proven.clone().unwrap_or_default()
        }),
    ];
    for (what, fact) in facts {
        row(
            &mut page,
            what,
            kernels.iter().map(|(_, outcome)| fact(outcome)),
        );
    }
    for name in names(kernels) {
        let cell = |(_, outcome): &(&str, &Outcome)| {
            let found = outcome.vectors.iter().find(|vector| vector.name == name);
            found.map_or("–".to_owned(), layer)
        };
        row(&mut page, name, kernels.iter().map(cell));
    }
    page.push_str(LEGEND);
    page
}

const LEGEND: &str = "\n`-nolsm` is booted without `bpf` in `lsm=`, `-noframes` without the modules \
`sch_ingress` and `cls_bpf`. *cgroup*: programs at the cgroup root. *frames*: programs on the \
host's end of the veth (tcx, before 6.6 clsact). *LSM*, *fmod_ret*: security hooks, by BPF LSM or \
by `fmod_ret` programs, which a kernel that preempts (`PREEMPT_LAZY`, since 7.0 always) may pass \
over, and which are no cover there. *nothing there*: the container has no such thing. What is **open** after a restart, and host sockets, which lead to no \
network, are limits: `attach` and `status` say LIMITED and exit 0. All else that is **open** can \
leave now: OPENED, exit 4. A way that verify could not prove has no control on that kernel, or is one of the open ones.\n";

/// Every vector that any kernel has, in the product's order.
fn names<'a>(kernels: &[(&str, &'a Outcome)]) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for vector in kernels.iter().flat_map(|(_, outcome)| &outcome.vectors) {
        if !names.contains(&vector.name.as_str()) {
            names.push(&vector.name);
        }
    }
    names
}

fn layer(vector: &Vector) -> String {
    let by = &vector.by;
    let word = match () {
        () if !vector.covered => "**open**",
        () if by.ends_with("(BPF LSM)") => "LSM",
        () if by.ends_with("(fmod_ret)") => "fmod_ret",
        () if by.starts_with("frame programs") => "frames",
        () if by.starts_with("it shares no") || by.starts_with("the container has no") => {
            "nothing there"
        }
        () if by.starts_with("nothing found") => "checked",
        () => "cgroup",
    };
    word.to_owned()
}

fn row(page: &mut String, head: &str, cells: impl Iterator<Item = String>) {
    let cells: Vec<_> = cells.collect();
    let _ = writeln!(page, "| {head} | {} |", cells.join(" | "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_the_layer() {
        let vector = |covered, by: &str| Vector {
            name: "x".to_owned(),
            covered,
            by: by.to_owned(),
        };
        for (covered, by, expected) in [
            (true, "connect4, egress", "cgroup"),
            (true, "frame programs on vethweb", "frames"),
            (true, "socket_create (BPF LSM)", "LSM"),
            (true, "socket_create (fmod_ret)", "fmod_ret"),
            (false, "only security hooks refuse them", "**open**"),
            (true, "it shares no mount", "nothing there"),
        ] {
            assert_eq!(layer(&vector(covered, by)), expected, "{by}");
        }
    }
}
