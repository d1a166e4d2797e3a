//! The host itself: its clock and namespaces, what the kernel says over netlink and /proc, its
//! systemd, its udev and its unit files. Knows no engine, no seal and no BPF.

pub mod alone;
pub mod clock;
pub mod installed;
pub mod interfaces;
pub mod netlink;
pub mod netns;
pub mod procfs;
pub mod sd_notify;
pub mod starters;
pub mod systemd;
pub mod udev;
pub mod units;
