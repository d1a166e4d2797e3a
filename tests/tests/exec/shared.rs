//! In the host's network: services, exceptions, and others on this host.

use airgap_tests::Seen;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use super::*;

#[test]
fn services_and_exceptions_are_what_was_named() {
    let outside = Outside::new();
    let plan = &outside.plan;
    let serve = "import socket,threading
def serve(port):
    l=socket.create_server(('',port))
    while 1:
        c,_=l.accept(); c.recv(9999); c.sendall(b'HTTP/1.0 200 OK\\r\\n\\r\\nhello'); c.close()
threading.Thread(target=serve,args=(18081,)).start()
serve(18080)";
    let client = format!("{}/32", plan.outside4);
    let options = ["-p", "18080", "--from", &client];
    let mut run = Running::start(&mut exec(&options, &["python3", "-c", serve]));
    wait::until("the service answers", wait::SOON, || {
        outside.get(plan.host4, 18_080, "/").ok()
    });
    assert!(
        outside.get(plan.host4, 18_081, "/").is_err(),
        "no service port"
    );
    run.signal(libc::SIGTERM);
    assert_eq!(run.code(), 143);
    // The control of the second port.
    let mut free = Command::new("python3");
    free.args(["-c", serve]).uid(NOBODY).gid(NOBODY);
    let free = Running::start(&mut free);
    wait::until("it answers unsealed", wait::SOON, || {
        outside.get(plan.host4, 18_081, "/").ok()
    });
    drop(free);
    outside.clear();
    let to = format!("{}:20001", plan.outside4);
    let line = format!(
        "for p in 20001 20002; do curl -s -m 2 http://{}:$p/; done",
        plan.outside4
    );
    let out = sealed(&["--to", &to], &["sh", "-c", &line]);
    let reached = |wanted: u16| {
        let seen = outside.seen();
        seen.iter()
            .any(|seen| matches!(seen, Seen::Connection { port, .. } if *port == wanted))
    };
    assert!(reached(20_001) && !reached(20_002), "{:?}", outside.seen());
    assert!(
        out.stderr.contains(":20002 (exit-port)"),
        "{}",
        out.describe()
    );
}

#[test]
fn others_on_loopback_are_a_way_out() {
    let _turn = sweep::take_turn();
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    udp.set_nonblocking(true).unwrap();
    let port = |address: SocketAddr| address.port().to_string();
    let (t, u) = (
        port(tcp.local_addr().unwrap()),
        port(udp.local_addr().unwrap()),
    );
    let script = "import socket,sys
try:
    socket.create_connection(('127.0.0.1',int(sys.argv[1])),2); print('connected')
except OSError: print('no')
socket.socket(socket.AF_INET,socket.SOCK_DGRAM).sendto(b'out',('127.0.0.1',int(sys.argv[2])))";
    let words = ["python3", "-c", script, &t, &u];
    let got = || udp.recv(&mut [0; 8]).is_ok();
    let open = free(&words);
    assert_eq!(open.stdout, "connected\n", "{}", open.describe());
    wait::until("the datagram", wait::SOON, || got().then_some(()));
    // In a network of its own there is nobody; in the host's they are told from its own.
    for options in [&[][..], &["-p", "18082"]] {
        let shut = sealed(options, &words);
        assert_eq!(shut.stdout, "no\n", "{}", shut.describe());
        assert!(!got(), "a datagram got to a process outside");
        let told = shut.stderr.contains(&format!(":{t} (loopback)"));
        assert_eq!(told, !options.is_empty(), "{}", shut.describe());
    }
    // A resolver of the host's on loopback, as systemd's: the name is told.
    let _resolver = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 53), 53)).unwrap();
    let out = sealed(&["-p", "18082"], &["python3", "-c", QUESTION, "127.0.0.53"]);
    let told = "udp → 127.0.0.53:53 \"telemetry.example\" A (loopback)";
    assert!(out.stderr.contains(told), "{}", out.describe());
    // What is its own it reaches.
    let own = "import socket
l=socket.create_server(('127.0.0.1',0)); socket.create_connection(l.getsockname(),2)";
    for options in [
        &["--fail-on-denial"][..],
        &["--fail-on-denial", "-p", "18082"],
    ] {
        let out = sealed(options, &["python3", "-c", own]);
        assert_eq!(out.code, 0, "{}", out.describe());
    }
}

/// By name, with the risk, and no further: not the port beside it, nor the other protocol.
#[test]
fn an_exception_on_loopback_reaches_its_service_alone() {
    let _turn = sweep::take_turn();
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let beside = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    for listener in [&tcp, &beside] {
        listener.set_nonblocking(true).unwrap();
    }
    udp.set_nonblocking(true).unwrap();
    let port = |at: std::io::Result<SocketAddr>| at.unwrap().port();
    let (t, u, b) = (
        port(tcp.local_addr()),
        port(udp.local_addr()),
        port(beside.local_addr()),
    );
    // The same number, by the other protocol.
    let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, t)).unwrap();
    other.set_nonblocking(true).unwrap();
    let (tcp_to, udp_to) = (format!("127.0.0.1:{t}"), format!("127.0.0.1:{u}/udp"));
    let out = sealed(&["--to", &tcp_to], &["true"]).expect_code(1);
    let who = format!("({}) of the cgroup /", std::process::id());
    for said in ["host-exit", &who] {
        assert!(out.stderr.contains(said), "{said}: {}", out.describe());
    }
    let dns = sealed(&["--to", "127.0.0.53:53/udp"], &["true"]).expect_code(1);
    assert!(dns.stderr.contains("a DNS exit"), "{}", dns.describe());
    let near = ["--to", "127.0.0.53:53/udp", "--accept", "host-exit"];
    let dns = sealed(&near, &["true"]).expect_code(1);
    assert!(dns.stderr.contains("dns-exit"), "{}", dns.describe());
    sealed(&[&near[..], &["--accept", "dns-exit"]].concat(), &["true"]).expect_code(0);
    sealed(&["--to", "127.0.0.0/8:80"], &["true"]).expect_code(2);
    let script = "import sys
from socket import *
said=''
for a,k in zip(sys.argv[1:],(SOCK_STREAM,SOCK_DGRAM,SOCK_STREAM,SOCK_DGRAM)):
  s=socket(AF_INET,k); s.settimeout(1)
  try: s.connect(('127.0.0.1',int(a))); s.send(b'word'); said+='y'
  except OSError: said+='n'
print(said)";
    let [t, u, b] = [t, u, b].map(|port| port.to_string());
    let words = ["python3", "-c", script, &t, &u, &b, &t];
    let options = ["--to", &tcp_to, "--to", &udp_to, "--accept", "host-exit"];
    let out = sealed(&options, &words);
    assert_eq!(out.stdout, "yynn\n", "{}", out.describe());
    let mut got = [0; 9];
    assert_eq!(udp.recv(&mut got).unwrap(), 4);
    let (mut stream, _) = tcp.accept().unwrap();
    stream.set_nonblocking(false).unwrap();
    assert_eq!(std::io::Read::read(&mut stream, &mut got).unwrap(), 4);
    let quiet = |got: &mut [u8]| udp.recv(got).is_err() && other.recv(got).is_err();
    assert!(beside.accept().is_err() && quiet(&mut got));
    let shut = sealed(&["-p", "18082"], &words);
    assert_eq!(shut.stdout, "nnnn\n", "{}", shut.describe());
    assert!(tcp.accept().is_err() && quiet(&mut got));
    assert_eq!(free(&words).stdout, "yyyy\n", "the control");
    assert_nothing_left("after exceptions");
}

/// No look-up finds a listener that is bound to an interface; it is not in the command's own
/// network.
#[test]
fn the_host_s_own_addresses_lead_to_nobody() {
    let outside = Outside::new();
    let host = outside.plan.host4;
    let script = "import socket,sys
l=socket.socket(); l.setsockopt(1,25,sys.argv[2].encode()); l.bind((sys.argv[1],18083)); l.listen()
while 1: l.accept()";
    let mut listen = Command::new("python3");
    listen.args(["-c", script, &host.to_string(), &outside.plan.uplink]);
    let _listener = Running::start(&mut listen);
    let script = "import socket,sys
socket.create_connection((sys.argv[1],18083),3)";
    let host = host.to_string();
    let words = ["python3", "-c", script, &host];
    wait::until("the control connects", wait::SOON, || {
        (free(&words).code == 0).then_some(())
    });
    let shut = sealed(&[], &words);
    assert_ne!(shut.code, 0, "{}", shut.describe());
    assert!(
        shut.stderr.contains(":18083 (egress)"),
        "{}",
        shut.describe()
    );
}

/// In the host's network the kernel finds such a listener, and no look-up of the gate does:
/// neither for TCP nor for UDP, of both IP versions, and not behind a decoy on lo.
#[test]
fn a_listener_that_is_bound_to_an_interface_is_not_reached() {
    let outside = Outside::new();
    let plan = &outside.plan;
    let log = Path::new("/tmp/airgap-test-bound");
    drop(fs::remove_dir_all(log));
    fs::create_dir(log).unwrap();
    let script = "import select,socket,sys
from socket import *
all=[]
for f,a in ((AF_INET,sys.argv[1]),(AF_INET6,sys.argv[2])):
  for k in (SOCK_STREAM,SOCK_DGRAM):
    s=socket(f,k); s.setsockopt(1,2,1); s.setsockopt(1,25,sys.argv[3].encode()); s.bind((a,18084))
    if k==SOCK_STREAM: s.listen()
    all.append(s)
while 1:
  for s in select.select(all,[],[])[0]:
    d=s.accept()[0].recv(99) if s.type==SOCK_STREAM else s.recv(99)
    open(sys.argv[4]+'/'+d.decode(),'w').close()";
    let mut listen = Command::new("python3");
    listen.args(["-c", script, &plan.host4.to_string()]);
    listen
        .args([&plan.host6.to_string(), &plan.uplink])
        .arg(log);
    let _listener = Running::start(&mut listen);
    // Each way by itself; connected and not, and with a decoy of its own that lo finds.
    let script = "import sys
from socket import *
way,addr,word=sys.argv[1:4]
f=AF_INET6 if ':' in addr else AF_INET
if way=='decoy':
  for k in (SOCK_STREAM,SOCK_DGRAM):
    d=socket(f,k); d.setsockopt(1,2,1); d.setsockopt(1,25,b'lo'); d.bind(('',18084))
    if k==SOCK_STREAM: d.listen(); t=d
    else: u=d
if way in('tcp','decoy'):
  s=create_connection((addr,18084),2); s.send(word.encode())
if way=='udp': socket(f,SOCK_DGRAM).sendto(word.encode(),(addr,18084))
if way in('connected','decoy'):
  s=socket(f,SOCK_DGRAM); s.connect((addr,18084)); s.send(word.encode())";
    let heard = |word: &str| log.join(word).exists();
    for (family, addr) in [("4", plan.host4.to_string()), ("6", plan.host6.to_string())] {
        for way in ["tcp", "udp", "connected", "decoy"] {
            let word = format!("free-{way}-{family}");
            wait::until("the control is heard", wait::SOON, || {
                let words = ["python3", "-c", script, way, &addr, &word];
                free(&words);
                heard(&word).then_some(())
            });
            let word = format!("sealed-{way}-{family}");
            let words = ["python3", "-c", script, way, &addr, &word];
            let shut = sealed(&["-p", "18999"], &words);
            assert_ne!(shut.code, 0, "{way}{family}: {}", shut.describe());
            assert!(
                shut.stderr.contains(":18084 (loopback)") || way == "udp",
                "{way}{family}: {}",
                shut.describe()
            );
        }
    }
    // Its own sockets reach each other there.
    let script = "import sys
from socket import *
l=create_server((sys.argv[1],18085)); c=create_connection((sys.argv[1],18085),3); a=l.accept()[0]
c.send(b'x'*99999)
n=0
while n<99999: n+=len(a.recv(99999))
a.close(); assert c.recv(9)==b''";
    let host = plan.host4.to_string();
    let own = sealed(&["-p", "18999"], &["python3", "-c", script, &host]);
    assert_eq!(own.code, 0, "{}", own.describe());
    assert!(!own.stderr.contains(REFUSED), "{}", own.describe());
    // All that came before its word has been taken by then.
    let words = [
        "python3",
        "-c",
        "import sys
from socket import *
socket(AF_INET,SOCK_DGRAM).sendto(b'last',(sys.argv[1],18084))",
        &host,
    ];
    wait::until("the last word", wait::SOON, || {
        free(&words);
        heard("last").then_some(())
    });
    let names = fs::read_dir(log).unwrap().flatten();
    let names: Vec<_> = names
        .map(|e| e.file_name().into_string().unwrap())
        .collect();
    assert!(!names.iter().any(|n| n.starts_with("sealed")), "{names:?}");
    assert_eq!(names.len(), 9, "{names:?}");
    fs::remove_dir_all(log).unwrap();
}
