//! Which servers are asked.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
};

/// Most that are asked, one after the other (MAXNS of resolv.conf(5)).
const MOST: usize = 3;
/// Docker's own, inside of containers.
const EMBEDDED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11));

/// Those that the container was given (`--dns`), or else the host's own by
/// `/etc/resolv.conf`. Never Docker's own at 127.0.0.11, which is the container's.
pub fn servers(given: &[String]) -> Vec<IpAddr> {
    let given: Vec<IpAddr> = given.iter().filter_map(|text| text.parse().ok()).collect();
    let mut all = match given.is_empty() {
        true => listed(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default()),
        false => given,
    };
    all.retain(|server| *server != EMBEDDED);
    all.truncate(MOST);
    all
}

/// Pure. A server of one link alone (`fe80::1%eth0`) is passed over.
fn listed(text: &str) -> Vec<IpAddr> {
    let lines = text.lines().map(|line| line.split(['#', ';']).next());
    lines
        .filter_map(|line| {
            let mut words = line?.split_ascii_whitespace();
            (words.next()? == "nameserver").then(|| words.next())?
        })
        .filter_map(|word| word.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_resolv_conf_as_the_c_library_does() {
        let text = "# nameserver 198.51.100.1\n nameserver\t198.51.100.2 # x\n\
            search a.test\nnameserver 2001:db8::53\nnameserver fe80::1%eth0\nnameservers 198.51.100.3\n";
        let found: Vec<_> = listed(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["198.51.100.2", "2001:db8::53"]);
        let given = ["198.51.100.9".to_owned(), "x".to_owned()];
        assert_eq!(servers(&given).len(), 1);
        assert!(servers(&["127.0.0.11".to_owned()]).is_empty());
    }
}
