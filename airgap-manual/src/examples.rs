//! What people do with each command. Pure; a test reads each line as a command.

/// A command line, and what it does.
type Example = (&'static str, &'static str);

/// The examples on a page, by its name.
pub(crate) fn of(page: &str) -> &'static [Example] {
    match page {
        "airgap" => &[
            (
                "sudo airgap attach web",
                "Seal the container web; it still answers on port 5060.",
            ),
            (
                "sudo airgap status web",
                "Say what is in force now, in one line first.",
            ),
            (
                "sudo airgap verify web",
                "Try every known way out of it, each with a control.",
            ),
            ("sudo airgap detach web", "Lift the seal."),
        ],
        "airgap-attach" => &[
            (
                "sudo airgap attach web",
                "Seal it, and show what is refused until Ctrl-C.",
            ),
            (
                "sudo airgap attach -d -p 80 -p 443 --from 10.0.0.0/8 web",
                "Serve two ports, to clients of one network, and return at once.",
            ),
            (
                "sudo airgap attach -d -p 5060,5060/udp,10000-10100/udp --from 10.0.0.0/8 sip",
                "Serve SIP over both protocols, and its media.",
            ),
            (
                "sudo airgap attach -d --to 198.51.100.10:5432 web",
                "Let it connect to one database, and nowhere else.",
            ),
            (
                "sudo airgap attach -d -p 80 --harden --unit nginx",
                "Confine a systemd service, and seal it over all its restarts.",
            ),
            (
                "sudo airgap attach -d --slice user-1000",
                "Seal all that one user runs.",
            ),
            (
                "sudo airgap attach -d -p 80 --cgroup /system.slice/web.service",
                "Seal whatever is in a cgroup, by its path.",
            ),
            (
                "sudo airgap attach --audit -d web",
                "Refuse nothing, and tell what a seal would refuse: it is NOT SEALED.",
            ),
            (
                "sudo airgap attach --dry-run web",
                "Say what would be refused or cut.",
            ),
        ],
        "airgap-run" => &[(
            "sudo airgap run -p 80 -- -d --name web nginx",
            "Create, seal and start a container: it never runs unsealed.",
        )],
        "airgap-exec" => &[
            (
                "sudo airgap exec -- pytest",
                "Run a test suite sealed, and end with the list of what it tried to reach.",
            ),
            (
                "sudo airgap exec --fail-on-denial -- make check",
                "The same as a step of CI: exit 4 if anything was refused.",
            ),
        ],
        "airgap-allow" => &[
            (
                "sudo airgap allow --to 198.51.100.10:443 --for 15m web",
                "Open one address and port for a quarter of an hour.",
            ),
            (
                "sudo airgap allow --to 198.51.100.10:443 --for 15m unit:nginx",
                "The same for a systemd unit.",
            ),
        ],
        "airgap-nri" => &[
            (
                "sudo airgap nri --quarantine",
                "Seal pods by their annotations; what starts while it is dead is denied, not open.",
            ),
            (
                "sudo airgap nri --allow-accept seccomp",
                "Let manifests accept that a container has no seccomp filter.",
            ),
        ],
        "airgap-keep" => &[(
            "sudo airgap keep",
            "Renew the addresses of --to container:NAME; its unit is airgap-keep.",
        )],
        "airgap-disallow" => &[
            (
                "sudo airgap disallow --to 198.51.100.10:443 web",
                "Take it back; what is connected there is cut.",
            ),
            (
                "sudo airgap disallow --all web",
                "Take all exceptions back.",
            ),
        ],
        "airgap-detach" => &[
            ("sudo airgap detach web", "Lift its seal."),
            (
                "sudo airgap detach --all",
                "Lift every seal, and take the gate down.",
            ),
        ],
        "airgap-restore" => &[("sudo airgap restore", "Put every recorded seal in force.")],
        "airgap-install" => &[
            (
                "sudo airgap install --dry-run",
                "Show the unit files and the udev rule.",
            ),
            (
                "sudo airgap install --yes",
                "Write them: seals come back at boot.",
            ),
        ],
        "airgap-uninstall" => &[(
            "sudo airgap uninstall --yes",
            "Remove them; seals stay in force until the next boot.",
        )],
        "airgap-watch" => &[(
            "sudo airgap watch --quarantine",
            "Seal what the label airgap.seal=true asks for, and hold the rest until it is judged.",
        )],
        "airgap-quarantine" => &[
            (
                "sudo airgap quarantine",
                "Say whether it is on, and who is denied.",
            ),
            (
                "sudo airgap quarantine off",
                "Let containers start as on any host.",
            ),
        ],
        "airgap-list" => &[(
            "sudo airgap list",
            "Every seal of this host, one line each.",
        )],
        "airgap-status" => &[
            ("sudo airgap status web", "What is in force for web."),
            (
                "sudo airgap status --explain web",
                "What is not covered, in full.",
            ),
            ("sudo airgap status --json web", "The same for a program."),
        ],
        "airgap-tail" => &[
            (
                "sudo airgap tail web",
                "Show what is refused, as it happens.",
            ),
            (
                "sudo airgap tail --since 15m --no-follow --json web",
                "What was refused in the last quarter of an hour, a line of JSON each.",
            ),
            (
                "sudo airgap tail --allowed web",
                "Show each connection that an exception lets out, too.",
            ),
        ],
        "airgap-top" => &[("sudo airgap top", "Watch all seals of this host.")],
        "airgap-learn" => &[
            (
                "sudo airgap learn web",
                "What was refused, as the exceptions that would let it out.",
            ),
            (
                "sudo airgap learn --since 2d web",
                "What was seen in two days of audit, as the exceptions that it needs.",
            ),
            (
                "sudo airgap learn --since 1h --format compose web",
                "Of the last hour, as a label of a Compose file.",
            ),
        ],
        "airgap-report" => &[(
            "sudo airgap report --html web.html web",
            "Write one page that tells who tried to reach what.",
        )],
        "airgap-verify" => &[
            ("sudo airgap verify web", "Prove that nothing gets out."),
            (
                "sudo airgap verify unit:nginx",
                "The same of a systemd unit.",
            ),
        ],
        "airgap-apply" => &[
            (
                "sudo airgap apply --diff",
                "Show what the policy files would change, and what newly becomes reachable.",
            ),
            ("sudo airgap apply", "Put them in force on all that runs."),
            (
                "sudo airgap apply --check --json",
                "Read the files alone, for a script that deploys them.",
            ),
        ],
        "airgap-config" => &[(
            "sudo airgap config",
            "Show each setting of this host, and where it comes from.",
        )],
        "airgap-doctor" => &[(
            "sudo airgap doctor",
            "Say what this host can and cannot do.",
        )],
        "airgap-explain" => &[
            (
                "airgap explain egress",
                "Say what a reason means, and what to do.",
            ),
            ("airgap explain", "Everything that has an entry."),
        ],
        "airgap-schema" => &[("airgap schema event", "The JSON Schema of an event.")],
        "airgap-guard" => &[(
            "sudo airgap guard 12",
            "Guard the interface of this index; udev runs it.",
        )],
        "airgap-hook" => &[(
            "sudo airgap hook",
            "Seal the container whose state is on stdin; an OCI runtime runs it, once airgap install has made it known to Podman.",
        )],
        _ => &[],
    }
}
