//! The clients that `--from` allows, in the map.

use airgap_common::map::{Client, Policy, SealNumber};
use anyhow::{Context as _, Result};
use aya::maps::lpm_trie::Key;

use super::Gate;
use crate::policy::Cidr;

impl Gate {
    /// Clients that may connect; empty: any, by the policy's own flag. Without
    /// that flag and without a client in the map it is [`Cidr::NOBODY`].
    ///
    /// # Errors
    /// If a map cannot be read.
    pub fn clients_of(&self, number: SealNumber) -> Result<Vec<Cidr>> {
        let policy = self.policies.get(&number, 0);
        if policy.is_ok_and(|policy| policy.flags & Policy::CLIENTS_ANY != 0) {
            return Ok(Vec::new());
        }
        let mut clients = Vec::new();
        self.each_client(|seal, client| {
            if seal == number {
                clients.push(client);
            }
        })?;
        if clients.is_empty() {
            clients.push(Cidr::NOBODY);
        }
        Ok(clients)
    }

    fn each_client(&self, mut each: impl FnMut(SealNumber, Cidr)) -> Result<()> {
        for key in self.clients.keys() {
            let key = key.context("cannot read the map CLIENTS")?;
            let (Client { seal, addr, .. }, bits) = (key.data(), key.prefix_len());
            each(seal, Cidr::from_key(addr, bits - Client::HEAD_BITS));
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

fn client_key(seal: SealNumber, client: Cidr) -> Key<Client> {
    let (addr, bits) = client.key();
    Key::new(Client::HEAD_BITS + bits, Client::new(seal, addr))
}
