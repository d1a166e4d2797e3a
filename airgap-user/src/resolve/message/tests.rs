use super::*;

const RANDOM: [u8; 34] = [0x5e; 34];

fn question(name: &str, kind: Kind) -> Question {
    Question::new(&labels(name), kind, &RANDOM)
}

fn wire_name(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        wire.push(label.len() as u8);
        wire.extend(label.as_bytes());
    }
    wire.push(0);
    wire
}

fn record(owner: &[u8], kind: u16, class: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut wire = owner.to_vec();
    wire.extend(kind.to_be_bytes());
    wire.extend(class.to_be_bytes());
    wire.extend(ttl.to_be_bytes());
    wire.extend((data.len() as u16).to_be_bytes());
    wire.extend(data);
    wire
}

/// An answer with these records in its answer section, and more behind it.
fn answer(question: &Question, flags: [u8; 2], records: &[Vec<u8>], more: &[u8]) -> Vec<u8> {
    let mut wire = question.wire[..question.end].to_vec();
    (wire[2], wire[3]) = (flags[0], flags[1]);
    wire[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
    wire[8..12].copy_from_slice(&[0; 4]);
    wire.extend(records.concat());
    wire.extend(more);
    wire
}

const OK: [u8; 2] = [0x81, 0x80];
const A: [u8; 4] = [198, 51, 100, 10];
const B: [u8; 4] = [198, 51, 100, 11];
/// The question's name.
const SAME: [u8; 2] = [0xc0, 12];

fn addresses(list: &[[u8; 4]], ttl: u32) -> Option<Answer> {
    let list = list.iter().map(|address| IpAddr::from(*address)).collect();
    Some(Answer::Addresses(list, ttl))
}

#[test]
fn a_question_is_our_own_and_says_nothing_else() {
    let one = question("api.example.com", Kind::A);
    let name = &one.wire[12..one.end - 4];
    assert_eq!(name.to_ascii_lowercase(), wire_name("api.example.com"));
    assert_ne!(name, wire_name("api.example.com"), "letters are random");
    assert_eq!(one.wire[..12], [0x5e, 0x5e, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    // EDNS without an option.
    assert_eq!(one.wire[one.end..], [0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn records_of_the_name_count_and_no_others() {
    let q = question("api.example.com", Kind::A);
    let ours = record(&SAME, 1, 1, 60, &A);
    let said = |records: &[Vec<u8>]| q.answered(&answer(&q, OK, records, &[]));
    assert_eq!(said(std::slice::from_ref(&ours)), addresses(&[A], 60));
    assert_eq!(said(&[]), addresses(&[], 0));
    let foreign = record(&wire_name("bank.test"), 1, 1, 5, &B);
    let chaos = record(&SAME, 1, 3, 5, &B);
    let text = record(&SAME, 16, 1, 5, b"\x01x");
    let short = record(&SAME, 1, 1, 5, &B[..3]);
    let six = record(&SAME, 28, 1, 5, &[0; 16]);
    let dotted = record(b"\x0bapi.example\x03com\0", 1, 1, 5, &B);
    let list = [
        foreign,
        chaos,
        text,
        short,
        six,
        dotted,
        ours.clone(),
        ours.clone(),
    ];
    assert_eq!(said(&list), addresses(&[A], 60));
    // In another section.
    let more = record(&SAME, 1, 1, 5, &B);
    assert_eq!(
        q.answered(&answer(&q, OK, &[ours], &more)),
        addresses(&[A], 60)
    );
    let huge = record(&SAME, 1, 1, u32::MAX, &A);
    assert_eq!(said(&[huge]), addresses(&[A], 0));
}

#[test]
fn a_chain_is_followed_within_the_name() {
    let q = question("api.example.com", Kind::A);
    let said = |records: &[Vec<u8>]| q.answered(&answer(&q, OK, records, &[]));
    let (cdn, edge) = (wire_name("cdn.test"), wire_name("EDGE.test"));
    let first = record(&SAME, 5, 1, 30, &cdn);
    let second = record(&cdn, 5, 1, 9, &edge);
    let end = record(&wire_name("edge.TEST"), 1, 1, 60, &A);
    let beside = record(&cdn, 1, 1, 60, &B);
    // In any order.
    for list in [
        [first.clone(), second.clone(), end.clone()],
        [end.clone(), second.clone(), first.clone()],
    ] {
        assert_eq!(said(&list), addresses(&[A], 9));
    }
    assert_eq!(
        said(&[first.clone(), second.clone(), beside]),
        Some(Answer::Other(labels("edge.test")))
    );
    let round = record(&edge, 5, 1, 9, &cdn);
    assert_eq!(said(&[first, second, round]), Some(Answer::Failed(0)));
    let to_itself = record(&SAME, 5, 1, 9, &SAME);
    assert_eq!(said(&[to_itself]), Some(Answer::Failed(0)));
}

#[test]
fn what_is_no_answer_to_it_is_none() {
    let q = question("api.example.com", Kind::A);
    let good = answer(&q, OK, &[record(&SAME, 1, 1, 60, &A)], &[]);
    assert!(q.answered(&good).is_some());
    for at in [0, 1, 4, 5, 13, q.end - 1, q.end - 3] {
        let mut bad = good.clone();
        // One bit: also only the case of a letter.
        bad[at] ^= 0x20;
        assert_eq!(q.answered(&bad), None, "{at}");
    }
    // A question; an inverse one.
    assert_eq!(q.answered(&answer(&q, [1, 0x80], &[], &[])), None);
    assert_eq!(q.answered(&answer(&q, [0x89, 0x80], &[], &[])), None);
    assert_eq!(
        q.answered(&answer(&q, [0x83, 0x80], &[], &[])),
        Some(Answer::Cut)
    );
    assert_eq!(
        q.answered(&answer(&q, [0x81, 0x83], &[], &[])),
        Some(Answer::NoName)
    );
    assert_eq!(
        q.answered(&answer(&q, [0x81, 0x82], &[], &[])),
        Some(Answer::Failed(2))
    );
    for len in 0..good.len() {
        assert_eq!(q.answered(&good[..len]), None, "{len}");
    }
}

#[test]
fn any_bytes_are_survived() {
    let q = question("api.example.com", Kind::Aaaa);
    let mut state = 0x5eed_u64;
    let mut next = |n: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % n
    };
    // Pointers to themselves and forward are no loop.
    for pointer in [[0xc0, q.end as u8], [0xc0, 0xff], [0xff, 0xff]] {
        let wire = answer(&q, OK, &[record(&pointer, 28, 1, 1, &[0; 16])], &[]);
        assert_eq!(q.answered(&wire), None);
    }
    let good = answer(
        &q,
        OK,
        &[
            record(&SAME, 5, 1, 1, &wire_name("a.test")),
            record(&wire_name("a.test"), 28, 1, 1, &[7; 16]),
        ],
        &[],
    );
    for _ in 0..100_000 {
        let mut bytes = good.clone();
        for _ in 0..1 + next(4) {
            let at = next(bytes.len());
            match next(3) {
                0 => bytes[at] = next(256) as u8,
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, [0xc0, 0, 63, 255][next(4)]),
            }
        }
        let _ = q.answered(&bytes);
    }
}
