use super::*;

const ALL: Layers = Layers {
    lsm: true,
    frames: true,
    pages: true,
};
const NONE: Layers = Layers {
    lsm: false,
    frames: false,
    pages: false,
};

#[test]
fn what_leads_elsewhere_is_open_without_the_hooks() {
    let carried = |leads, family, fd| Carried {
        holder: Holder {
            fd,
            ..Holder::default()
        },
        inode: 1,
        family,
        leads,
    };
    let action = |leads, family, layers| carried_action(&carried(leads, family, 5), layers);
    for leads in [Leads::Elsewhere, Leads::Outside, Leads::Around] {
        assert_eq!(action(leads, "ip", NONE), "open");
    }
    assert_eq!(action(Leads::Outside, "unix", ALL), "cut");
    assert_eq!(
        carried_action(&carried(Leads::Outside, "unix", 1), ALL),
        "kept"
    );
    assert_eq!(action(Leads::Around, "vsock", ALL), "blocked");
    assert_eq!(action(Leads::Elsewhere, "ip", ALL), "blocked");
    let older = Layers {
        frames: false,
        pages: false,
        ..ALL
    };
    assert_eq!(action(Leads::Queued, "unix", ALL), "blocked");
    assert_eq!(action(Leads::Queued, "unix", older), "blocked");
    assert_eq!(action(Leads::Queued, "other", older), "open");
    assert_eq!(action(Leads::Queued, "unix", NONE), "open");
    assert_eq!(action(Leads::Elsewhere, "ip", older), "open");
    assert_eq!(action(Leads::Around, "xdp", older), "open");
    assert_eq!(action(Leads::Around, "vsock", older), "blocked");
}

#[test]
fn the_gate_is_told_of_tcp_alone() {
    let socket = |kind, port| OpenSocket {
        kind,
        local: Some(("198.51.100.2".parse().unwrap(), port)),
        peer: Some(("198.51.100.9".parse().unwrap(), 4000)),
        inode: 1,
        cookie: None,
        cgroup: None,
        seal: None,
        exit: 0,
    };
    let fate = |kind, port, action| {
        connection(&socket(kind, port), action, |port| port == 5060).map(|one| one.fate)
    };
    let cut = |served| Some(Fate::Cut { served });
    assert_eq!(fate(SocketKind::Tcp, 5060, "cut"), cut(true));
    assert_eq!(fate(SocketKind::Tcp, 40_000, "cut"), cut(false));
    assert_eq!(fate(SocketKind::Tcp, 5060, "kept"), Some(Fate::Kept));
    assert_eq!(fate(SocketKind::Udp, 5060, "blocked"), None);
    let nobody = OpenSocket {
        peer: None,
        ..socket(SocketKind::Tcp, 5060)
    };
    assert_eq!(connection(&nobody, "cut", |_| true), None);
}

#[test]
fn only_service_connections_can_be_kept() {
    let socket = |kind, port| OpenSocket {
        kind,
        local: Some(("198.51.100.2".parse().unwrap(), port)),
        peer: Some(("198.51.100.9".parse().unwrap(), 4000)),
        inode: 1,
        cookie: Some([1; 8]),
        cgroup: None,
        seal: None,
        exit: 0,
    };
    let terms = |keep| Terms {
        keep,
        audit: false,
        ports: const { &[Port::tcp(5060), Port::udp(53)] },
        layers: ALL,
    };
    assert_eq!(action(&socket(SocketKind::Tcp, 5060), &terms(false)), "cut");
    assert_eq!(action(&socket(SocketKind::Tcp, 5060), &terms(true)), "kept");
    assert_eq!(action(&socket(SocketKind::Tcp, 40000), &terms(true)), "cut");
    assert_eq!(
        action(&socket(SocketKind::Udp, 5060), &terms(true)),
        "blocked"
    );
    // It answers who asks from now on.
    assert_eq!(action(&socket(SocketKind::Udp, 53), &terms(false)), "kept");
    assert_eq!(action(&socket(SocketKind::Tcp, 53), &terms(true)), "cut");
    assert_eq!(
        action(&socket(SocketKind::Packet, 5060), &terms(true)),
        "blocked"
    );
}
