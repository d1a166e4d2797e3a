//! What a seal is to be, as options say it: each is written here alone.

use anyhow::Result;
use clap::Args;

use crate::{
    config::Config,
    failure::{Failure, exit},
    policy::{Cidr, Errno, Exception, Hold, NearTo, Port, To},
    preflight::Risk,
};

/// The options that `attach`, `run` and `exec` have.
#[derive(Args, Debug)]
pub struct Common {
    /// Service port inside the container, FIRST-LAST for several; repeatable [default: 5060/tcp]
    #[arg(
        short,
        long = "port",
        value_name = "PORT[-LAST][/udp]",
        value_delimiter = ','
    )]
    pub ports: Vec<Port>,
    /// Only clients from here may connect; repeatable, required with UDP ports [default: any client]
    #[arg(long = "from", value_name = "CIDR")]
    pub from: Vec<Cidr>,
    /// Where it may connect, or send datagrams to: ADDRESS or CIDR (IPv6 in brackets), NAME or
    /// container:NAME, and PORT, FIRST-LAST or * (all but 53 and 853); repeatable [default: nowhere]
    #[arg(long = "to", value_name = "TARGET:PORTS[/udp]")]
    pub to: Vec<NearTo>,
    /// How refused calls fail, from Linux 5.18: as on a host without a network
    /// (ENETUNREACH and the like), or with EPERM [default: offline]
    #[arg(long, value_name = "offline|eperm")]
    pub errno: Option<Errno>,
    /// Accept a risk that would be refused, by its name (airgap explain lists them); repeatable
    #[arg(long = "accept", value_name = "RISK")]
    pub accept: Vec<Risk>,
    /// With `full`: refuse to seal unless every vector is covered
    #[arg(long, value_name = "full", value_parser = ["full"])]
    pub require: Option<String>,
}

/// Those of `attach` and `run`: exceptions of a container lead to names, too.
#[derive(Args, Debug)]
pub struct SealOptions {
    #[command(flatten)]
    common: Common,
    /// How long an address holds that was found for a name (airgap allow --help)
    #[arg(long, value_name = "TIME|forever")]
    pub hold: Option<Hold>,
}

impl std::ops::Deref for SealOptions {
    type Target = Common;

    fn deref(&self) -> &Common {
        &self.common
    }
}

impl SealOptions {
    /// Whether nothing says what the seal is to be.
    pub(super) fn names_nothing(&self) -> bool {
        self.ports.is_empty()
            && self.from.is_empty()
            && self.to.is_empty()
            && self.accept.is_empty()
            && self.hold.is_none()
            && self.errno.is_none()
    }

    /// The service ports, or the usual ones of this host.
    pub(super) fn ports(&self, config: &Config) -> Vec<Port> {
        match self.ports.is_empty() {
            true => config.ports(),
            false => self.ports.clone(),
        }
    }

    /// The exceptions of something that has a network of its own: loopback is no place there.
    ///
    /// # Errors
    /// If one leads to loopback.
    pub(super) fn exits(&self) -> Result<Vec<Exception>, String> {
        let far = |to: &NearTo| to.0.to_string().parse::<To>();
        let held = |to| Exception::from(to).held(self.hold);
        self.to.iter().map(|to| far(to).map(held)).collect()
    }
}

/// Of options that say nothing possible: exit 2, and where to read on.
pub(super) fn usage(error: String, command: &str) -> Failure {
    Failure::new(error, format!("airgap {command} --help")).with_code(exit::USAGE)
}
