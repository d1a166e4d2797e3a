//! What will no longer answer or resolve once a container is sealed, said before it is.

use std::collections::BTreeSet;

use crate::{
    container::{Container, Served, listening},
    failure::{Failure, exit},
    host::netns::Netns,
    policy::{Port, Protocol, Rules, serves},
};

/// What is known of a container's services.
#[derive(Debug, Default)]
pub(crate) struct Services {
    /// What listens in its networks; `None`: it does not run, or that is not known.
    listening: Option<BTreeSet<Served>>,
    /// What its engine publishes, and as which ports of the host.
    published: Vec<(Served, Vec<u16>)>,
    /// Names of its own that its health check asks the engine's resolver for.
    health_check: Vec<String>,
    /// The program that makes connections for clients on this host, from inside the
    /// container's network.
    inner_proxy: Option<&'static str>,
}

impl Services {
    /// Those of a container. Of what listens only the network that its engine made is
    /// asked: nothing else is looked at before a seal.
    pub(crate) fn of(container: &Container) -> Self {
        let running = container.pid.is_some();
        let own = Netns::own().and_then(|own| own.inode()).ok();
        let sandbox = container
            .sandbox()
            .filter(|netns| running && netns.inode().ok() != own);
        let listening = sandbox.and_then(|netns| {
            let found = listening(&netns);
            found
                .inspect_err(|error| log::debug!("what listens is not known: {error:#}"))
                .ok()
        });
        Self {
            listening,
            published: container.published(),
            health_check: container.health_check_names(),
            inner_proxy: container.inner_proxy(),
        }
    }

    fn numbers(&self, served: Served) -> Option<&[u16]> {
        let found = self.published.iter().find(|(known, _)| *known == served);
        found.map(|(_, numbers)| numbers.as_slice())
    }

    /// What is served, but for what is `chosen`; neighbours that are alike as one.
    fn groups(&self, chosen: impl Fn(&Served) -> bool) -> Vec<Group> {
        let mut all: BTreeSet<Served> = self.published.iter().map(|(s, _)| *s).collect();
        all.extend(self.listening.iter().flatten());
        all.retain(|served| !chosen(served));
        let of = |served: &Served| Group {
            port: port_of(*served),
            listens: self.listening.iter().any(|all| all.contains(served)),
            published: self.numbers(*served).map(<[u16]>::to_vec),
        };
        let mut groups: Vec<Group> = Vec::new();
        for next in all.iter().map(of) {
            match groups.last_mut() {
                Some(group) if group.goes_on_with(&next) => group.port.last = next.port.last,
                _ => groups.push(next),
            }
        }
        groups
    }

    /// What stops under these rules, in words, each a sentence of its own. Pure.
    pub(crate) fn stop(&self, rules: &Rules) -> Vec<String> {
        let mut said = Vec::new();
        let chosen = |served: &Served| is_chosen(&rules.ports, *served);
        for group in self.groups(chosen) {
            let (port, how) = (group.port, group.words());
            said.push(format!(
                "{port} {how}, and will not answer any more (to serve it: {})",
                group.mend()
            ));
        }
        for port in &rules.ports {
            let outer = self.published.iter().find(|(inner, numbers)| {
                let same = port_of(*inner).protocol == port.protocol;
                same && port.first == port.last
                    && inner.port != port.first
                    && numbers.contains(&port.first)
            });
            let here = |served: &Served| is_chosen(&[*port], *served);
            let published = self.published.iter().any(|(served, _)| here(served));
            if let Some((inner, _)) = outer.filter(|_| !published) {
                let mend = Group::alone(*inner).mend();
                said.push(format!(
                    "{port} is the published number; in the container it is {inner}: {mend}"
                ));
            // Of a range not all need be open now: media ports are opened by the call.
            } else if port.first == port.last
                && self
                    .listening
                    .as_ref()
                    .is_some_and(|all| !all.iter().any(here))
            {
                said.push(format!("nothing listens on {port} now"));
            }
        }
        if let Some(proxy) = self.inner_proxy.filter(|_| !self.published.is_empty()) {
            said.push(format!(
                "its published ports will not answer at 127.0.0.1 and ::1 any more: for those clients {proxy} connects from inside the container's network, as anybody in there could (ask at another address of this host)"
            ));
        }
        for name in &self.health_check {
            said.push(format!(
                "its health check asks for '{name}', which only the engine's resolver knows, and will fail (to keep it: create the container with --add-host {name}:127.0.0.1)"
            ));
        }
        said
    }

    /// Refuses to seal by the default port what plainly serves others: nothing listens
    /// there, and something else does or is published. Pure.
    ///
    /// # Errors
    /// With the command that serves what is there; exit code 2.
    pub(crate) fn refuse_default(&self, name: &str, ports: &[Port]) -> Result<(), Failure> {
        let Some(listening) = &self.listening else {
            return Ok(());
        };
        let usual = |served: &Served| is_chosen(ports, *served);
        let others = self.groups(|_| false);
        let mut published = self.published.iter().map(|(served, _)| served);
        if listening.iter().any(usual) || others.is_empty() || published.any(usual) {
            return Ok(());
        }
        let shown: Vec<_> = others
            .iter()
            .map(|group| format!("{} {}", group.port, group.words()))
            .collect();
        let mut options: Vec<_> = others.iter().map(Group::option).collect();
        if others.iter().any(Group::is_udp) {
            options.push(FROM.to_owned());
        }
        let hint = format!("airgap attach {} {name}", options.join(" "));
        Err(Failure::new(
            format!(
                "no port was named, and in the container '{name}' nothing listens on {}, but {}",
                words(ports),
                shown.join("; ")
            ),
            hint,
        )
        .with_code(exit::USAGE))
    }
}

/// Ports that are next to each other and served alike.
struct Group {
    port: Port,
    listens: bool,
    /// The host's ports for the first one, if it is published.
    published: Option<Vec<u16>>,
}

/// Who may send to a UDP service port has to be said.
const FROM: &str = "--from CIDR";

impl Group {
    fn alone(served: Served) -> Self {
        Self {
            port: port_of(served),
            listens: false,
            published: None,
        }
    }

    fn is_udp(&self) -> bool {
        self.port.protocol == Protocol::Udp
    }

    /// Whether the next one belongs to it: published as the next number, or not at all.
    fn goes_on_with(&self, next: &Self) -> bool {
        let steps = self.port.last.abs_diff(self.port.first) + 1;
        let numbers = match (self.published.as_deref(), next.published.as_deref()) {
            (None, None) | (Some([]), Some([])) => true,
            (Some([own]), Some([next])) => own.checked_add(steps) == Some(*next),
            _ => false,
        };
        self.port.protocol == next.port.protocol
            && self.port.last.checked_add(1) == Some(next.port.first)
            && self.listens == next.listens
            && numbers
    }

    fn words(&self) -> String {
        let steps = self.port.last - self.port.first;
        let published = match self.published.as_deref() {
            None => None,
            Some([first]) if steps > 0 => Some(format!("{first}-{}", first.saturating_add(steps))),
            Some(numbers) => Some(list(numbers)),
        };
        match (self.listens, published) {
            (true, Some(numbers)) => format!("listens, published as {numbers}"),
            (true, None) => "listens".to_owned(),
            (false, Some(numbers)) => format!("is published as {numbers}"),
            (false, None) => "is served".to_owned(),
        }
    }

    /// As `airgap attach` takes it.
    fn option(&self) -> String {
        let text = self.port.to_string();
        format!("-p {}", text.strip_suffix("/tcp").unwrap_or(&text))
    }

    fn mend(&self) -> String {
        match self.is_udp() {
            true => format!("{} {FROM}", self.option()),
            false => self.option(),
        }
    }
}

const fn port_of(served: Served) -> Port {
    Port {
        protocol: match served.udp {
            true => Protocol::Udp,
            false => Protocol::Tcp,
        },
        first: served.port,
        last: served.port,
    }
}

fn is_chosen(ports: &[Port], served: Served) -> bool {
    serves(ports, port_of(served).protocol, served.port)
}

fn words(ports: &[Port]) -> String {
    let words: Vec<_> = ports.iter().map(ToString::to_string).collect();
    words.join(" or ")
}

fn list(numbers: &[u16]) -> String {
    match numbers {
        [] => "a port that the engine picks".to_owned(),
        some => some
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::DEFAULT_PORT;

    const fn tcp(port: u16) -> Served {
        Served { udp: false, port }
    }

    const fn udp(port: u16) -> Served {
        Served { udp: true, port }
    }

    fn services(listening: &[Served], published: &[(Served, u16)]) -> Services {
        Services {
            listening: Some(listening.iter().copied().collect()),
            published: published.iter().map(|(s, n)| (*s, vec![*n])).collect(),
            health_check: Vec::new(),
            inner_proxy: None,
        }
    }

    fn rules(ports: &[u16]) -> Rules {
        Rules::new(ports.iter().map(|p| Port::tcp(*p)).collect(), Vec::new()).unwrap()
    }

    #[test]
    fn names_what_stops() {
        let web = services(&[tcp(80), udp(53)], &[(tcp(80), 18080)]);
        assert_eq!(
            web.stop(&rules(&[5060])),
            [
                "80/tcp listens, published as 18080, and will not answer any more (to serve it: -p 80)",
                "53/udp listens, and will not answer any more (to serve it: -p 53/udp --from CIDR)",
                "nothing listens on 5060/tcp now",
            ]
        );
        let mistaken = web.stop(&rules(&[18080]));
        assert!(
            mistaken
                .iter()
                .any(|s| s
                    == "18080/tcp is the published number; in the container it is 80/tcp: -p 80"),
            "{mistaken:?}"
        );
        assert!(
            web.stop(&rules(&[80]))
                .iter()
                .all(|s| !s.contains("80/tcp"))
        );
        assert_eq!(
            services(&[tcp(5060)], &[]).stop(&rules(&[5060])),
            Vec::<String>::new()
        );
    }

    #[test]
    fn neighbours_that_are_alike_are_one() {
        let ports: Vec<_> = (10_000..=10_100).map(udp).collect();
        let rtp: Vec<_> = ports.iter().map(|p| (*p, p.port + 1000)).collect();
        let sip = services(&[udp(5060)], &rtp);
        assert_eq!(
            sip.stop(&rules(&[80]))[..2],
            [
                "5060/udp listens, and will not answer any more (to serve it: -p 5060/udp --from CIDR)",
                "10000-10100/udp is published as 11000-11100, and will not answer any more (to serve it: -p 10000-10100/udp --from CIDR)",
            ]
        );
        let apart = services(
            &[tcp(80), tcp(81), tcp(83)],
            &[(tcp(80), 8080), (tcp(81), 8090)],
        );
        assert_eq!(apart.stop(&rules(&[5060])).len(), 4);
    }

    #[test]
    fn says_whom_a_proxy_inside_serves() {
        let mut web = services(&[tcp(5060)], &[(tcp(5060), 6010)]);
        web.inner_proxy = Some("pasta");
        let said = web.stop(&rules(&[5060]));
        assert!(said.len() == 1 && said[0].contains("127.0.0.1"), "{said:?}");
        web.published.clear();
        assert!(web.stop(&rules(&[5060])).is_empty());
    }

    #[test]
    fn says_of_a_stopped_one_what_is_published() {
        let created = Services {
            listening: None,
            published: vec![(tcp(80), vec![])],
            health_check: vec!["web".into()],
            inner_proxy: None,
        };
        let said = created.stop(&rules(&[5060]));
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].contains("published as a port that the engine picks"));
        assert!(said[1].contains("--add-host web:127.0.0.1"));
        assert!(
            created.refuse_default("web", &[DEFAULT_PORT]).is_ok(),
            "a port never keeps it from being made"
        );
    }

    #[test]
    fn the_default_port_is_not_forced_upon_other_services() {
        let refused = |listening: &[Served], published: &[(Served, u16)]| {
            services(listening, published)
                .refuse_default("web", &[DEFAULT_PORT])
                .err()
        };
        let web = refused(&[tcp(80)], &[(tcp(80), 18080)]).unwrap();
        assert_eq!(
            (web.code, web.hint.as_deref()),
            (exit::USAGE, Some("airgap attach -p 80 web"))
        );
        assert!(
            refused(&[tcp(80), tcp(443)], &[])
                .unwrap()
                .hint
                .unwrap()
                .contains("-p 80 -p 443 web")
        );
        assert_eq!(
            refused(&[udp(53), tcp(53)], &[]).unwrap().hint.as_deref(),
            Some("airgap attach -p 53 -p 53/udp --from CIDR web")
        );
        assert!(refused(&[], &[(tcp(80), 80)]).is_some());
        assert!(refused(&[], &[]).is_none(), "it may still be loading");
        assert!(refused(&[tcp(80), tcp(5060)], &[]).is_none());
        assert!(refused(&[], &[(tcp(5060), 5060)]).is_none());
    }
}
