//! `airgap-probe`: runs inside the containers under test.
//!
//! - `serve [--port N]`: a dual-stack HTTP/1.0 server; `/bytes/N` answers N bytes,
//!   `/pid` the process id
//! - `serve mptcp`, `serve forked N`: the same on an MPTCP listener, in N processes
//! - `hear PORT`, `say ADDRESS:PORT DEVICE TEXT`: datagrams from and to all around
//! - `whisper 4|6 SECONDS`: has its kernel ask the link for addresses of its choice
//! - `turncoat`: a server whose listener can be told to connect out
//! - `beacon --v4 A --v6 A --port N`: sends before anything else, then serves
//! - `try TECHNIQUE --v4 A --v6 A --port N --marker M …`: one way out, one JSON line
//! - `session`: tries what each line on stdin says: the arguments of `try`
//! - `hide DISGUISE WORDS…`: a first process in disguise, whose child does what WORDS say
//! - `crowded WORDS…`: in as many groups as there can be, does what WORDS say
//! - `hold KIND,KIND…`: opens sockets, then sends on them for ever
//! - `knock …`: repeats a UDP and a TCP attempt until killed, one JSON line each
//! - `get ADDRESS:PORT PATH`, `tell ADDRESS:PORT WORDS…`: one request each
//! - `contained CGROUP`: a container-like process that serves; prints its pid
//! - `churn --v4 A --v6 A --port SEED`: random lives of TCP sockets
//! - `phone KIND MILLISECONDS --v4 A --v6 A --port N`: counts its own refused calls
//! - `pulse --v4 A --v6 A --port N`: serves, and sends from its first instruction on, each second
//! - `ask --v4 A --v6 A`: DNS questions of many types; `ask for NAME --v4 A`: for one name; `lookup NAME`: musl's own
//! - `inherit FD ADDRESS:PORT`: connects a socket that somebody outside opened
//! - `inherit FD`, `receive NAME`: sends on a socket that somebody outside opened;
//!   `receive NAME hop`: and then goes on as `hop`; `receive NAME queue`: keeps it in a queue
//! - `hop`: a process that forks and ends all the time
//! - `queued --v4 A --port N`: a connection in a queue, which no descriptor holds
//! - `rings RESULTS DESCRIPTORS WORDS…`: has an io_uring of which /proc says much, and does
//!   what WORDS say
//! - `stay PATH`: a unix connection that is kept
//! - `legit`: what a sealed container must still be able to do, one JSON line each
//! - `disturb guess|all|groups`: sends on `airgap0` whatever could be taken for an attempt
//! - `reach`: connections and datagrams to where exceptions may lead, as stdin says
//! - `again`: repeated connections over loopback from one port
//! - `strange --v4 A --port N`: serves under a name that is no UTF-8
//! - `cost --v4 A --port N`: what single calls take, one JSON line
//! - `bulk ADDRESS:PORT`: 64 MiB to itself in writes of 1 MiB; prints how many came
//! - `visit PID`: its first thread goes into that process' network, another one stays
//! - `write PATH`: a few blocks, past the page cache
//! - `crowd SECONDS`: many threads that ask for packet sockets at once; `GOT of ASKED`
//! - `list`: the techniques

mod again;
mod ask;
mod attempt;
mod beacon;
mod bulk;
mod carried;
mod churn;
mod cost;
mod crowd;
mod disturb;
mod get;
mod hear;
mod hide;
mod hold;
mod legit;
mod phone;
mod pulse;
mod queued;
mod reach;
mod rings;
mod serve;
mod strange;
mod turncoat;
mod visit;
mod whisper;
mod write;

use airgap::technique::{self, target::Target};
use carried::Keeping;

fn main() {
    // One of them may be called anything.
    let args = std::env::args_os().skip(1);
    let args: Vec<String> = args.map(|a| a.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    if let Err(error) = run(&words) {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}

fn run(words: &[&str]) -> Result<(), String> {
    match words {
        ["hide", disguise, work @ ..] => hide::run(disguise, || run(work)),
        ["crowded", work @ ..] => hide::crowded(|| run(work)),
        ["serve", "mptcp"] => serve::run_mptcp(5060),
        ["serve", "forked", count] => serve::run_forked(count),
        ["serve", rest @ ..] => serve::run(Target::parse(rest).port),
        ["turncoat", ..] => turncoat::run(),
        ["beacon", rest @ ..] => beacon::run(&Target::parse(rest)),
        ["hold", kinds, rest @ ..] => hold::run(kinds, &Target::parse(rest)),
        ["knock", name, rest @ ..] => attempt::knock(name, &Target::parse(rest)),
        ["try", name, rest @ ..] => attempt::run(name, &Target::parse(rest)),
        ["session"] => attempt::session(),
        ["get", address, path] => get::run(address, path),
        ["tell", address, words @ ..] => get::tell(address, words),
        ["contained", cgroup] => airgap_tests::contained::run(cgroup, || serve::run(5060)),
        ["churn", rest @ ..] => churn::run(&Target::parse(rest)),
        ["pulse", rest @ ..] => pulse::run(&Target::parse(rest)),
        ["phone", kind, time, rest @ ..] => phone::run(kind, time, &Target::parse(rest)),
        ["ask", "for", name, rest @ ..] => ask::run_for(name, &Target::parse(rest)),
        ["ask", rest @ ..] => ask::run(&Target::parse(rest)),
        ["lookup", name] => ask::lookup(name),
        ["inherit", fd] => carried::inherit(fd),
        ["inherit", fd, to] => carried::connect(fd, to),
        ["receive", name] => carried::receive(name, Keeping::Descriptor),
        ["receive", name, "hop"] => carried::receive(name, Keeping::Hopping),
        ["receive", name, "queue"] => carried::receive(name, Keeping::Queue),
        ["hop"] => hide::hop(),
        ["stay", path] => carried::stay(path),
        ["legit"] => {
            legit::run();
            Ok(())
        }
        ["queued", rest @ ..] => queued::run(&Target::parse(rest)),
        ["rings", results, descriptors, work @ ..] => {
            rings::hold(results, descriptors)?;
            run(work)
        }
        ["hear", port] => hear::run(port.parse().unwrap_or(0)),
        ["say", address, device, text] => hear::say(address, device, text),
        ["whisper", version, seconds] => whisper::run(version, seconds),
        ["cost", rest @ ..] => cost::run(&Target::parse(rest)),
        ["crowd", seconds] => crowd::run(seconds),
        ["bulk", address] => bulk::run(address),
        ["disturb", kind] => disturb::run(kind),
        ["strange", rest @ ..] => strange::run(&Target::parse(rest)),
        ["again"] => again::run(),
        ["reach"] => reach::run(),
        ["visit", pid] => visit::run(pid),
        ["write", path] => write::run(path),
        ["list"] => {
            for way in technique::TABLE {
                println!("{}", way.name);
            }
            Ok(())
        }
        _ => Err(format!(
            "unknown arguments {words:?}; see the head of the probe's main.rs"
        )),
    }
}
