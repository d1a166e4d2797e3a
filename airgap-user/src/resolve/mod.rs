//! The addresses of a name, by questions of our own to a DNS server: not through the C
//! library, whose hosts file, multicast and modules say what no server does, and nothing
//! of the container's.

mod client;
mod message;
mod places;
mod servers;

use std::net::IpAddr;

use self::{
    client::ask,
    message::{Answer, Kind, Labels, labels},
};
pub use self::{places::refused, servers::servers};

/// Most names that one stands for, in a row.
const DEPTH: usize = 8;
/// Most addresses that are taken of one answer.
const MOST: usize = 32;

/// Addresses of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Of both families, each once.
    pub addresses: Vec<IpAddr>,
    /// How many seconds the server would have them kept.
    pub ttl: u32,
}

/// Asks for the addresses of a name that was checked already, of both families.
///
/// # Errors
/// In words, if no server says, or there is no such name or no address of it.
pub async fn resolve(name: &str, servers: &[IpAddr]) -> Result<Resolved, String> {
    if servers.is_empty() {
        return Err(
            "no DNS server is named, neither for the container (--dns) nor in /etc/resolv.conf"
                .into(),
        );
    }
    let mut last = String::new();
    for server in servers {
        let both = tokio::join!(
            chain(labels(name), Kind::A, *server),
            chain(labels(name), Kind::Aaaa, *server),
        );
        match both {
            // One family may fail where the name has addresses of the other alone.
            (Ok(a), Ok(b)) => return together(a, b, *server),
            (Ok(a), Err(_)) | (Err(_), Ok(a)) if !a.addresses.is_empty() => return Ok(a),
            (Err(error), _) | (_, Err(error)) => last = error,
        }
    }
    Err(last)
}

fn together(mut a: Resolved, b: Resolved, server: IpAddr) -> Result<Resolved, String> {
    a.ttl = match (a.addresses.is_empty(), b.addresses.is_empty()) {
        (true, true) => return Err(format!("{server} knows no address of it")),
        (false, false) => a.ttl.min(b.ttl),
        (true, false) => b.ttl,
        (false, true) => a.ttl,
    };
    a.addresses.extend(b.addresses);
    Ok(a)
}

/// One family, over as many answers as the chain of names takes.
async fn chain(mut name: Labels, kind: Kind, server: IpAddr) -> Result<Resolved, String> {
    for _ in 0..DEPTH {
        match ask(&name, kind, server).await? {
            Answer::Addresses(mut addresses, ttl) => {
                addresses.truncate(MOST);
                return Ok(Resolved { addresses, ttl });
            }
            Answer::Other(other) => name = other,
            Answer::NoName => return Err(format!("{server} says that there is no such name")),
            Answer::Failed(0) => return Err("it stands for itself, over others".into()),
            Answer::Failed(code) => return Err(format!("{server} failed, code {code}")),
            Answer::Cut => return Err(format!("{server} cuts its answer short")),
        }
    }
    Err("it stands for one name after the other".into())
}
