//! Tests of `filter`.

use super::*;

/// What the kernel would return: classic BPF, as far as it is used here.
fn run(program: &[sock_filter], arch: u32, call: libc::c_long, args: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend((call as u32).to_ne_bytes());
    data.extend(arch.to_ne_bytes());
    data.extend(0_u64.to_ne_bytes());
    data.extend(args.iter().flat_map(|arg| arg.to_ne_bytes()));
    let (mut at, mut a) = (0, 0_u32);
    loop {
        let one = &program[at];
        at += 1;
        let holds = match one.code {
            LOAD => {
                let k = one.k as usize;
                a = u32::from_ne_bytes(data[k..k + 4].try_into().unwrap());
                continue;
            }
            AND => {
                a &= one.k;
                continue;
            }
            RETURN => return one.k,
            EQUAL => a == one.k,
            AT_LEAST => a >= one.k,
            ANY_BIT => a & one.k != 0,
            other => panic!("{other:#x}"),
        };
        at += usize::from(if holds { one.jt } else { one.jf });
    }
}

fn verdict(program: &[sock_filter], call: libc::c_long, args: &[u64]) -> i32 {
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    match run(program, OWN_ARCH, call, all) {
        ALLOW => 0,
        errno => (errno & 0xffff) as i32,
    }
}

#[test]
fn what_leads_out_is_refused_and_nothing_else() {
    let all = program(false, false, false);
    for (call, args, errno) in [
        (libc::SYS_read, &[][..], 0),
        (libc::SYS_execve, &[], 0),
        (libc::SYS_keyctl, &[], libc::EPERM),
        (libc::SYS_io_uring_setup, &[], libc::EPERM),
        (libc::SYS_clone3, &[], libc::ENOSYS),
        (libc::SYS_clone, &[17], 0),
        (libc::SYS_clone, &[17 | 0x1000_0000], libc::EPERM),
        (
            libc::SYS_clone,
            &[0xff_0000_0000 | 0x1000_0000],
            libc::EPERM,
        ),
        (libc::SYS_unshare, &[0x1000_0000 | 0x4000_0000], libc::EPERM),
        (libc::SYS_unshare, &[0x400], 0),
        (libc::SYS_ioctl, &[0, 0x5412], libc::EPERM),
        // The kernel looks at the low word alone.
        (libc::SYS_ioctl, &[0, 0x1_0000_5412], libc::EPERM),
        (libc::SYS_ioctl, &[0, 0x5401], 0),
        (libc::SYS_socket, &[2, 1], 0),
        (libc::SYS_socket, &[10, 2], 0),
        (libc::SYS_socket, &[1, 1], libc::EAFNOSUPPORT),
        (libc::SYS_socket, &[17, 3], libc::EAFNOSUPPORT),
        (libc::SYS_socket, &[40, 1], libc::EAFNOSUPPORT),
        (libc::SYS_socket, &[4_000, 1], libc::EAFNOSUPPORT),
        (libc::SYS_socket, &[16, 3, 0], 0),
        (libc::SYS_socket, &[16, 3, 9], libc::EPROTONOSUPPORT),
        (libc::SYS_socketpair, &[1, 1], 0),
        (libc::SYS_socketpair, &[1, 5 | 0x80000], 0),
        // What is not connected for good can be sent to anybody.
        (libc::SYS_socketpair, &[1, 2], libc::EPERM),
        (libc::SYS_socketpair, &[1, 2 | 0x800], libc::EPERM),
        (libc::SYS_socketpair, &[1, 3], libc::EPERM),
        (libc::SYS_socketpair, &[30, 1], libc::EAFNOSUPPORT),
        (libc::SYS_setsockopt, &[3, 0, 35], libc::EPERM),
        (libc::SYS_setsockopt, &[3, 41, 20], libc::EPERM),
        (libc::SYS_setsockopt, &[3, 1, 35], 0),
        (libc::SYS_setsockopt, &[3, 1, 15], libc::ENOPROTOOPT),
        (libc::SYS_setsockopt, &[3, 1, 51], libc::ENOPROTOOPT),
        (libc::SYS_setsockopt, &[3, 1, 52], libc::ENOPROTOOPT),
        (libc::SYS_setsockopt, &[3, 6, 15], 0),
        (libc::SYS_socket, &[38, 5], libc::EAFNOSUPPORT),
        (libc::SYS_kill, &[0, 15], libc::EPERM),
        (libc::SYS_kill, &[7, 15], 0),
        (libc::SYS_setpriority, &[1, 0, 5], libc::EPERM),
        (libc::SYS_setpriority, &[0, 0, 5], 0),
        (libc::SYS_ioprio_set, &[2, 0, 5], libc::EPERM),
        (libc::SYS_ioprio_set, &[1, 0, 5], 0),
        (libc::SYS_setsockopt, &[3, 41, 26], 0),
    ] {
        assert_eq!(verdict(&all, call, args), errno, "{call} {args:x?}");
    }
    let unix = program(true, false, true);
    assert_eq!(verdict(&unix, libc::SYS_socket, &[1, 1]), 0);
    assert_eq!(
        verdict(&unix, libc::SYS_socket, &[17, 3]),
        libc::EAFNOSUPPORT
    );
    // Hooks say it, and to whom.
    let hooked = program(true, true, false);
    assert_eq!(verdict(&hooked, libc::SYS_socket, &[17, 3]), 0);
    assert_eq!(verdict(&hooked, libc::SYS_bpf, &[]), libc::EPERM);
    let alg = verdict(&hooked, libc::SYS_socket, &[38, 5]);
    assert_eq!(alg, libc::EAFNOSUPPORT);
    assert_eq!(verdict(&hooked, libc::SYS_socket, &[2, 1]), 0);
}

#[test]
fn no_other_abi_gets_through() {
    let all = program(false, false, false);
    let nothing = ERRNO | libc::ENOSYS as u32;
    // i386, arm.
    for arch in [0x4000_0003, 0x4000_0028] {
        assert_eq!(run(&all, arch, 1, [0; 6]), nothing);
    }
    if cfg!(target_arch = "x86_64") {
        let x32 = libc::c_long::from(OTHER_ABI);
        assert_eq!(run(&all, OWN_ARCH, x32 + 41, [1; 6]), nothing);
    }
}

#[test]
fn every_jump_stays_inside() {
    for (unix, hooks, apart) in [
        (false, false, false),
        (true, false, true),
        (true, true, false),
        (true, true, true),
    ] {
        let program = program(unix, hooks, apart);
        assert!(program.len() < 4096);
        for (at, one) in program.iter().enumerate() {
            let furthest = at + 1 + usize::from(one.jt.max(one.jf));
            assert!(one.code == RETURN || furthest < program.len(), "{at}");
        }
    }
}
