//! The clients that `--from` allows, in the map.

use airgap_common::map::{Client, SealNumber};
use anyhow::{Context as _, Result};
use aya::maps::lpm_trie::Key;

use super::Gate;
use crate::policy::Cidr;

impl Gate {
    /// Clients that `--from` allows; empty: any.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn clients_of(&self, number: SealNumber) -> Result<Vec<Cidr>> {
        let mut clients = Vec::new();
        self.each_client(|seal, client| {
            if seal == number {
                clients.push(client);
            }
        })?;
        Ok(clients)
    }

    fn each_client(&self, mut each: impl FnMut(SealNumber, Cidr)) -> Result<()> {
        for key in self.clients.keys() {
            let key = key.context("cannot read the map CLIENTS")?;
            let client = key.data();
            let range = Cidr::from_mapped(client.addr, key.prefix_len() - SEAL_BITS);
            each(client.seal, range);
        }
        Ok(())
    }

    pub(super) fn add_clients(&mut self, number: SealNumber, clients: &[Cidr]) -> Result<()> {
        for client in clients {
            self.clients
                .insert(&client_key(number, *client), 1, 0)
                .context("cannot write the map CLIENTS")?;
        }
        Ok(())
    }

    pub(super) fn retain_clients(&mut self, number: SealNumber, keep: &[Cidr]) -> Result<()> {
        self.forget_clients(|seal, client| seal == number && !keep.contains(&client))
    }

    /// Removes those that `of` is true of.
    pub(super) fn forget_clients(&mut self, of: impl Fn(SealNumber, Cidr) -> bool) -> Result<()> {
        let mut stale = Vec::new();
        self.each_client(|seal, client| {
            if of(seal, client) {
                stale.push(client_key(seal, client));
            }
        })?;
        for key in &stale {
            self.clients
                .remove(key)
                .context("cannot write the map CLIENTS")?;
        }
        Ok(())
    }
}

/// Bits of a client key before the address.
const SEAL_BITS: u32 = 64;

fn client_key(seal: SealNumber, client: Cidr) -> Key<Client> {
    let (addr, len) = client.mapped();
    Key::new(SEAL_BITS + len, Client { seal, addr })
}
