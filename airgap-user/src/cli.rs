//! The command line. Doc comments here are the help text.

mod dispatch;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::{
    command::Init,
    commands::{
        Allow, Apply, Attach, Complete, Configuration, Detach, Disallow, Doctor, Exec, Explain,
        Guard, Hook, Install, Keep, Learn, List, Nri, Quarantine, Reporting, Restore, Run, Schema,
        Status, Tail, Verify, Watch,
    },
    verify::Probe,
};

/// Seal containers against egress: they answer on their service ports, and
/// nothing else leaves them.
#[derive(Debug, Parser)]
#[command(name = "airgap", version, arg_required_else_help = true)]
pub struct Cli {
    /// Socket of a container engine; may be repeated [default: $DOCKER_HOST, or what the
    /// configuration says, or unix:///var/run/docker.sock and unix:///run/podman/podman.sock]
    #[arg(long, global = true, value_name = "unix://PATH", value_parser = socket)]
    pub host: Vec<String>,
    /// Where seals are recorded, for `restore`
    /// [default: what the configuration says, or /var/lib/airgap]
    #[arg(long, global = true, value_name = "DIR", env = "AIRGAP_STATE")]
    pub state_dir: Option<PathBuf>,
    /// What is a property of this host [default: /etc/airgap/airgap.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE", env = "AIRGAP_CONFIG")]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Seal containers, say what is in force, then show what is refused.
    ///
    /// The seal is in the kernel: it outlives this process, restarts of the
    /// container and of the engine. Ctrl-C ends the display, not the seal.
    /// A stopped or created container is sealed from its first instruction.
    /// Attaching again keeps ports, clients and accepted risks that are not named. Without
    /// any option that says what the seal is to be, a policy file is followed (airgap apply).
    #[command(alias = "seal")]
    Attach(Attach),
    /// Create a container, seal it, start it: `docker run` without an open instant.
    ///
    /// What follows -- goes to docker. If the seal is refused, the container is
    /// removed again and never starts. Exits like docker run.
    Run(Run),
    /// Run a command that is sealed from its first instruction.
    ///
    /// It runs as whoever called sudo, without capabilities, in a network that leads nowhere,
    /// or with -p or --to in the host's, where it reaches what --to names and nothing else; it ends
    /// with the list of what was refused, on stderr, or with a line that nothing was. Exits like the command: 128 and the number of the signal that ended it,
    /// 126 if it cannot be run, 127 if there is none. What it leaves running is waited
    /// for and stays sealed until it ends; Ctrl-C then ends the waiting alone.
    Exec(Exec),
    /// Let a sealed container connect, or send, where it may not yet.
    ///
    /// The rest of the seal stays as it is, and connections go on. With --for it
    /// ends by itself, with no process alive: what is open then goes on, nothing new
    /// is let out.
    Allow(Allow),
    /// Take exceptions back; connections that they let out are cut at once.
    Disallow(Disallow),
    /// Seal, or change, what runs as the policy files say (/etc/airgap/policy.d).
    ///
    /// Shows first what changes, with what newly becomes reachable. Nothing changes where a
    /// file is wrong, or where a container is refused by what its engine was told. What no
    /// file names stays as it is.
    Apply(Apply),
    /// Lift seals.
    #[command(alias = "unseal")]
    Detach(Detach),
    /// Put every recorded seal in force, without the engine or the containers.
    ///
    /// Run at boot, before the engine starts (airgap install). A record that
    /// cannot be read seals its container with no service port at all, and fails
    /// the restore.
    Restore(Restore),
    /// Seal containers by their labels, as they are created; a service.
    ///
    /// Labels: airgap.seal=true, airgap.ports=5060,53/udp,… airgap.from=CIDR,…
    /// airgap.to=TARGET:PORTS,… airgap.accept=RISK,… What an image says of itself widens nothing, and a
    /// risk is accepted only where --allow-accept names it. What a policy file means is
    /// sealed as that says, whatever its labels ask for (airgap apply). What is sealed needs
    /// no such process.
    Watch(Watch),
    /// Seal pods of Kubernetes by their annotations, before their first instruction; a service.
    ///
    /// Annotations of a pod's manifest: airgap.dev/seal=true, /ports, /from, /to and /accept,
    /// with the words of the labels (airgap watch). The runtime (containerd from 1.7, CRI-O)
    /// asks and waits: a pod that asks for a seal and cannot be sealed is not made, and its
    /// event says why. A runtime goes on without a plugin that is dead or slow: what starts
    /// then is open, or denied with --quarantine. What is sealed needs no such process.
    Nri(Nri),
    /// Look after the addresses of exceptions by name; a service.
    ///
    /// It looks again when a container starts, ends or changes its networks, and every 20
    /// seconds, asks DNS servers every 30 to 300, and writes the names into the hosts files of sealed containers. Without it
    /// addresses hold for their --hold, and are shut then. airgap watch does the same.
    Keep(Keep),
    /// Whether containers that nobody has judged start denied everything.
    ///
    /// airgap watch judges by labels, airgap attach and detach by command.
    Quarantine(Quarantine),
    /// Have systemd restore the seals at every boot, before the engines start.
    ///
    /// Shows what would change first. An engine does not start when the
    /// restore has failed.
    Install(Install),
    /// Undo install.
    Uninstall(Install),
    /// List sealed containers.
    List(List),
    /// Say what is in force for one container right now, read from the kernel.
    Status(Status),
    /// Show refused attempts as they happen.
    Tail(Tail),
    /// Show seals, rates and top destinations on the terminal, live.
    ///
    /// Counts are the kernel's own and hold after a flood. ? shows the keys.
    Top,
    /// Sum up a seal for an auditor: what is in force, who tried to reach what.
    ///
    /// All of it is read from the kernel, whether anybody watched or not.
    Report(Reporting),
    /// Say what exceptions would have let out what was refused.
    ///
    /// Read it before you take any: what a container tries is its own choice. A neighbour is
    /// named, and not its address. Nothing changes.
    Learn(Learn),
    /// Prove a seal: try every known way out from inside the container.
    ///
    /// The target is airgap's own, in a network namespace of its own; nothing
    /// is sent to a real address. For about ten seconds the container has one
    /// interface more, airgap0. Each way is also tried without the seal, as a
    /// control, and counts as closed only if the gate says that it refused it.
    Verify(Verify),
    /// Show what is in effect on this host, and where each of it comes from.
    Config(Configuration),
    /// Say what this host can and cannot do, and how to mend it.
    Doctor(Doctor),
    /// Say what an event, a state, a way out, a risk or a reason means, and what to do.
    ///
    /// Without an argument: everything that has an entry.
    Explain(Explain),
    /// Print the JSON Schema of what other commands print as JSON.
    Schema(Schema),
    /// Seal a container before its first instruction; for OCI runtimes.
    ///
    /// Podman has it run for what has the annotation airgap.seal=true, once airgap install
    /// has made it known. Until its labels (airgap watch) or airgap attach say otherwise the
    /// container has no service port. If it cannot be sealed it does not start.
    Hook(Hook),
    /// Guard a veth that has just come up, whosever it is; for udev.
    ///
    /// The rule that airgap install writes runs it for each new interface. Nothing
    /// happens if no container is sealed, if the interface is no veth, or if the
    /// container behind it is not sealed.
    Guard(Guard),
    /// The process that verify starts inside a container.
    #[command(hide = true)]
    Probe(Probe),
    /// What shells ask for the word at the cursor.
    #[command(name = "__complete", hide = true)]
    Complete(Complete),
    /// The process that exec starts its command from.
    #[command(hide = true)]
    CommandInit(Init),
}

/// A socket, also where only its path is written.
fn socket(text: &str) -> Result<String, String> {
    Ok(match text.starts_with('/') {
        true => format!("unix://{text}"),
        false => text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::{CommandFactory as _, Parser as _};

    #[test]
    fn is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn refuses_bad_usage() {
        for bad in [
            "attach",
            "attach -p 0 web",
            "attach -p 80/icmp web",
            "attach -p 8010-8000 web",
            "attach --from 10.0.0.1/8 web",
            "attach --accept all web",
            "attach --require most web",
            "apply web",
            "apply --check --diff",
            "detach",
            "exec",
            "exec true",
            "exec --",
            "exec --from 198.51.100.0/24 -- true",
            "exec -p 0 -- true",
            "exec --to 198.51.100.10 -- true",
            "detach --all web",
            "attach --to 198.51.100.10 web",
            "allow web",
            "allow --to 198.51.100.10:443 --for 0s web",
            "allow --to 198.51.100.10:443",
            "disallow web",
            "disallow --all --to 198.51.100.10:443 web",
            "status",
            "verify",
            "verify web db",
            "report",
            "report --json --html f web",
            "report --diff old.json",
            "report --diff old.json new.json web",
            "report --diff old.json new.json --since 1h",
            "frobnicate",
        ] {
            let args = std::iter::once("airgap").chain(bad.split(' '));
            assert!(Cli::try_parse_from(args).is_err(), "{bad}");
        }
        assert!(
            Cli::try_parse_from([
                "airgap",
                "attach",
                "-p",
                "80,53/udp",
                "-p",
                "443/tcp",
                "web"
            ])
            .is_ok()
        );
    }
}

#[cfg(test)]
mod completed;
#[cfg(test)]
mod documents;
