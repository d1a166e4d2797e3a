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
        for key in self.clients.keys() {
            let key = key.context("cannot read the map CLIENTS")?;
            let client = key.data();
            if client.seal == number {
                clients.push(Cidr::from_mapped(client.addr, key.prefix_len() - SEAL_BITS));
            }
        }
        Ok(clients)
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
        for client in self.clients_of(number)? {
            if !keep.contains(&client) {
                self.clients
                    .remove(&client_key(number, client))
                    .context("cannot write the map CLIENTS")?;
            }
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
