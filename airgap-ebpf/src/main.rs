//! The gate: BPF programs attached at the cgroup v2 root, or at the cgroups just below it
//! that sealed containers are in.
//!
//! Each program first asks whether the cgroup, or the veth, is sealed ([`subject`]);
//! if it is not, it allows. If it is, every path that is not an explicit allow
//! denies. What a socket's tag vouches for is allowed before that ([`short`]).
//! Entry points are thin; the verdict itself is `airgap_common::verdict`.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(unreachable_pub, reason = "the program macros want public functions")]

mod allowed;
mod audit;
mod cgroup;
mod counted;
mod denial;
mod exits;
mod frame;
mod groups;
mod kernel;
mod local;
mod lsm;
mod maps;
mod older;
mod packet;
mod questions;
mod short;
mod skb;
mod sock;
mod sock_addr;
mod socket;
mod subject;
mod systemd;
mod task;
mod udp;
mod udp_peers;
mod verifier;

use airgap_common::{addr::Addr, denial::Hook};
use aya_ebpf::{
    macros::{btf_tracepoint, cgroup_skb, cgroup_sock, cgroup_sock_addr, classifier, lsm},
    programs::{
        BtfTracePointContext, LsmContext, SkBuffContext, SockAddrContext, SockContext, TcContext,
    },
};

#[cgroup_sock_addr(connect4)]
pub fn airgap_connect4(ctx: SockAddrContext) -> i32 {
    let dst = sock_addr::dst4(&ctx);
    sock_addr::connect(&ctx, dst, Hook::Connect4)
}

#[cgroup_sock_addr(connect6)]
pub fn airgap_connect6(ctx: SockAddrContext) -> i32 {
    let dst = sock_addr::dst6(&ctx);
    sock_addr::connect(&ctx, dst, Hook::Connect6)
}

#[cgroup_sock_addr(sendmsg4)]
pub fn airgap_sendmsg4(ctx: SockAddrContext) -> i32 {
    let dst = sock_addr::dst4(&ctx);
    sock_addr::sendmsg(&ctx, dst, Hook::Sendmsg4)
}

#[cgroup_sock_addr(sendmsg6)]
pub fn airgap_sendmsg6(ctx: SockAddrContext) -> i32 {
    let dst: Addr = sock_addr::dst6(&ctx);
    sock_addr::sendmsg(&ctx, dst, Hook::Sendmsg6)
}

#[cgroup_sock(sock_create)]
pub fn airgap_socket(ctx: SockContext) -> i32 {
    sock::create(&ctx)
}

#[cgroup_sock(post_bind4)]
pub fn airgap_bind4(ctx: SockContext) -> i32 {
    sock::bound(&ctx)
}

#[cgroup_sock(post_bind6)]
pub fn airgap_bind6(ctx: SockContext) -> i32 {
    sock::bound(&ctx)
}

#[cgroup_skb(egress)]
pub fn airgap_egress(ctx: SkBuffContext) -> i32 {
    skb::egress(&ctx)
}

#[cgroup_skb(ingress)]
pub fn airgap_ingress(ctx: SkBuffContext) -> i32 {
    skb::ingress(&ctx)
}

#[btf_tracepoint(function = "cgroup_mkdir")]
pub fn airgap_mkdir(ctx: BtfTracePointContext) -> i32 {
    cgroup::mkdir(&ctx);
    0
}

#[btf_tracepoint(function = "cgroup_release")]
pub fn airgap_release(ctx: BtfTracePointContext) -> i32 {
    cgroup::release(&ctx);
    0
}

#[btf_tracepoint(function = "cgroup_rmdir")]
pub fn airgap_rmdir(ctx: BtfTracePointContext) -> i32 {
    cgroup::rmdir(&ctx);
    0
}

#[classifier]
pub fn airgap_frame_out(ctx: TcContext) -> i32 {
    frame::out(&ctx)
}

#[classifier]
pub fn airgap_frame_in(ctx: TcContext) -> i32 {
    frame::inward(&ctx)
}

#[lsm(hook = "socket_create")]
pub fn airgap_lsm_create(ctx: LsmContext) -> i32 {
    lsm::create(&ctx)
}

#[lsm(hook = "socket_sendmsg")]
pub fn airgap_lsm_sendmsg(ctx: LsmContext) -> i32 {
    lsm::sendmsg(&ctx)
}

#[lsm(hook = "socket_connect")]
pub fn airgap_lsm_connect(ctx: LsmContext) -> i32 {
    lsm::connect(&ctx)
}

#[lsm(hook = "socket_setsockopt")]
pub fn airgap_lsm_option(ctx: LsmContext) -> i32 {
    lsm::option(&ctx)
}

#[lsm(hook = "unix_stream_connect")]
pub fn airgap_lsm_unix_connect(ctx: LsmContext) -> i32 {
    lsm::unix_connect(&ctx)
}

#[lsm(hook = "unix_may_send")]
pub fn airgap_lsm_unix_send(ctx: LsmContext) -> i32 {
    lsm::unix_send(&ctx)
}

#[lsm(hook = "file_receive")]
pub fn airgap_lsm_receive(ctx: LsmContext) -> i32 {
    lsm::receive(&ctx)
}

/// A panic that can be reached is a loop, and the verifier refuses it.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
