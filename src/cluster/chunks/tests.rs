//! Pages come back as they were cut, or not at all.

use proptest::prelude::*;

use super::*;

/// Bytes of a chunk here.
const SMALL: usize = 4;

fn at(seconds: i64) -> Timestamp {
    Timestamp::new(1_678_412_400 + seconds, 5).unwrap()
}

/// A chunk on its way.
#[derive(Debug, Clone)]
struct Sent {
    head: ChunkHead,
    payload: Vec<u8>,
    timestamp: i64,
}

fn sent(body: &[u8], received: Timestamp) -> Vec<Sent> {
    let chunks = Outgoing::new(body, received, "the source");
    let chunk = |(headers, payload): (Headers, &[u8])| {
        let slices = headers.to_slices();
        let head = ChunkHead::read(|name| slices.iter().find(|(known, _)| *known == name).map(|(_, value)| *value));
        Sent { head: head.unwrap(), payload: payload.to_vec(), timestamp: 0 }
    };
    chunks.chunks_of(SMALL).map(chunk).collect()
}

/// What an assembler makes of the messages, in order.
fn assembled(assembler: &mut Assembler, messages: &[Sent]) -> Vec<Taken> {
    let take = |(offset, sent): (i64, &Sent)| assembler.take(offset, sent.timestamp, sent.head.clone(), &sent.payload);
    (0..).zip(messages).map(take).collect()
}

fn pages(taken: &[Taken]) -> Vec<&WholePage> {
    taken.iter().filter_map(|taken| if let Taken::Page(page) = taken { Some(page) } else { None }).collect()
}

#[test]
fn page_is_cut_and_put_together() {
    for (body, chunks) in [(&b""[..], 1), (b"[]", 1), (b"[12]", 1), (b"[123]", 2), (b"[123456789]", 3)] {
        let (messages, mut assembler) = (sent(body, at(0)), Assembler::default());
        assert_eq!(messages.len(), chunks);
        let taken = assembled(&mut assembler, &messages);
        let page = pages(&taken)[0];
        assert_eq!(
            (page.body.as_slice(), page.received, page.source.as_str(), page.first),
            (body, at(0), "the source", 0)
        );
        assert_eq!(assembler.resume_at(9), 9);
    }
}

#[test]
fn headers_are_text_and_pinned() {
    let outgoing = Outgoing::new(b"[12345]", at(0), "logs");
    let (headers, payload) = outgoing.chunks_of(SMALL).nth(1).unwrap();
    let text: Vec<String> = headers.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let expected = [
        "page=742d864dae083a55e0a52b5493708e62",
        "chunk=1/2",
        "received=1678412400000000005",
        "source=logs",
        "blake3=af3a26f08e5bdf22d0ea16a64954c0096d954aace56e9ea977db92e023b22861",
    ];
    assert_eq!(text, expected);
    assert_eq!(payload, b"45]");
    assert!((0..3).contains(&outgoing.partition(3)));
    assert_eq!(partition_of([255; 16], 3), 0);
}

#[test]
fn what_is_no_chunk_has_no_head() {
    let good = [("page", "00".repeat(16)), ("chunk", "0/1".into()), ("received", "5".into()), ("source", "s".into())];
    let good: BTreeMap<&str, String> = good.into_iter().chain([("blake3", "ab".repeat(32))]).collect();
    let read =
        |headers: &BTreeMap<&str, String>| ChunkHead::read(|name| headers.get(name).map(String::as_bytes)).is_some();
    assert!(read(&good));
    let wrong = [
        ("page", "00"),
        ("page", "0000000000000000000000000000000g"),
        ("chunk", "1/1"),
        ("chunk", "0/0"),
        ("chunk", "0"),
        ("chunk", "-1/2"),
        ("chunk", "0/8193"),
        ("received", "x"),
        ("received", "99999999999999999999999999999999"),
        ("blake3", ""),
    ];
    for (name, value) in wrong {
        let mut headers = good.clone();
        headers.insert(name, value.to_owned());
        assert!(!read(&headers), "{name}={value}");
        headers.remove(name);
        assert!(!read(&headers), "no {name}");
    }
}

#[test]
fn unfinished_page_holds_the_offset_until_it_is_begun_again_or_abandoned() {
    let (cut, whole) = (sent(b"[1234567]", at(0)), sent(b"[]", at(1)));
    let mut assembler = Assembler::default();
    let messages = [&cut[..2], &whole[..]].concat();
    assert_eq!(pages(&assembled(&mut assembler, &messages)).len(), 1);
    assert_eq!(assembler.resume_at(3), 0);
    // Sent again: what came before no longer counts.
    for (offset, chunk) in (3..).zip(&cut) {
        let taken = assembler.take(offset, 0, chunk.head.clone(), &chunk.payload);
        let is_last = offset == 5;
        assert_eq!(matches!(&taken, Taken::Page(page) if page.first == 3), is_last, "{taken:?}");
        assert_eq!(assembler.resume_at(offset + 1), [1, 3, 6][usize::try_from(offset - 3).unwrap()]);
    }
    let other = sent(b"[another]", at(2));
    assembler.take(6, 0, other[0].head.clone(), &other[0].payload);
    assembler.take(7, ABANDONED, whole[0].head.clone(), &whole[0].payload);
    assert_eq!((assembler.resume_at(8), assembler.take_abandoned()), (6, 0));
    assembler.take(8, ABANDONED + 1, whole[0].head.clone(), &whole[0].payload);
    assert_eq!((assembler.resume_at(9), assembler.take_abandoned()), (9, 1));
}

#[test]
fn chunk_of_a_page_that_is_done_begins_nothing() {
    let messages = sent(b"[1234567]", at(0));
    let mut assembler = Assembler::default();
    let taken = assembled(&mut assembler, &[&messages[..], &messages[..]].concat());
    assert_eq!((pages(&taken).len(), assembler.resume_at(6)), (1, 6));
}

#[test]
fn page_without_room_is_read_again_and_none_is_lost() {
    let mut assembler = Assembler { most: Some(3 * CHUNK), ..Assembler::default() };
    let (large, other) = (sent(b"[123456789]", at(0)), sent(b"[5678]", at(1)));
    let order = [&large[..2], &other[..], &large[2..]].concat();
    let taken = assembled(&mut assembler, &order);
    assert_eq!(pages(&taken).iter().map(|page| page.body.as_slice()).collect::<Vec<_>>(), [b"[123456789]"]);
    assert!(assembler.has_put_back());
    assert_eq!(assembler.resume_at(5), 2);
    let taken = assembled(&mut Assembler::default(), &order[2..]);
    assert_eq!(pages(&taken).iter().map(|page| page.body.as_slice()).collect::<Vec<_>>(), [b"[5678]"]);
}

#[test]
fn damaged_page_is_none() {
    let mut messages = sent(b"[1234567]", at(0));
    messages[1].payload[0] ^= 1;
    let mut assembler = Assembler::default();
    assert_eq!(assembled(&mut assembler, &messages)[2], Taken::Damaged(0));
    // The chunk that is right comes, too.
    let again = sent(b"[1234567]", at(0));
    let taken = assembler.take(3, 0, again[1].head.clone(), &again[1].payload);
    assert_eq!(pages(&[taken]).len(), 1);
    let mut single = sent(b"[]", at(0));
    single[0].payload[0] ^= 1;
    assert_eq!(assembled(&mut Assembler::default(), &single), [Taken::Damaged(0)]);
}

/// What happens to the chunks of some pages on their way.
#[derive(Debug, Clone)]
struct Journey {
    bodies: Vec<Vec<u8>>,
    /// Page and chunk, in the order of arrival; some are lost, some come twice; the flag damages one.
    arrivals: Vec<(prop::sample::Index, prop::sample::Index, bool)>,
    /// The page that is sent again at the end, interleaved with the last arrivals.
    again: prop::sample::Index,
}

fn journeys() -> impl Strategy<Value = Journey> {
    let body = proptest::collection::vec(0_u8..4, 0..30);
    let arrival = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), proptest::bool::weighted(0.1));
    let parts = (
        proptest::collection::vec(body, 1..5),
        proptest::collection::vec(arrival, 0..40),
        any::<prop::sample::Index>(),
    );
    parts.prop_map(|(bodies, arrivals, again)| Journey { bodies, arrivals, again })
}

proptest! {
    #[test]
    fn no_journey_gives_a_wrong_page_and_one_that_is_begun_again_arrives(journey in journeys()) {
        let pages_sent: Vec<Vec<Sent>> = (0..).zip(&journey.bodies).map(|(n, body)| sent(body, at(n))).collect();
        let mut messages = Vec::new();
        for (page, chunk, is_damaged) in &journey.arrivals {
            let mut sent = chunk.get(page.get(&pages_sent[..]).as_slice()).clone();
            if let Some(byte) = sent.payload.first_mut().filter(|_| *is_damaged) {
                *byte ^= 0x40;
            }
            messages.push(sent);
        }
        let last = journey.again.get(&pages_sent[..]);
        // Not interrupted by damage of its own, but by whatever else is on the way.
        let others = messages.iter().filter(|sent| sent.head.page != last[0].head.page).cloned().collect::<Vec<_>>();
        let mut others = others.into_iter();
        for chunk in last {
            messages.push(chunk.clone());
            messages.extend(others.next());
        }
        let mut assembler = Assembler::default();
        let mut resumed = 0;
        let mut whole = Vec::new();
        for (offset, sent) in (0..).zip(&messages) {
            if let Taken::Page(page) = assembler.take(offset, 0, sent.head.clone(), &sent.payload) {
                let source = pages_sent.iter().position(|of| of[0].head.page == page.id).unwrap();
                prop_assert_eq!(&page.body, &journey.bodies[source]);
                whole.push(page.id);
            }
            let resume = assembler.resume_at(offset + 1);
            prop_assert!(resume >= resumed && resume <= offset + 1, "{resume} after {resumed}");
            resumed = resume;
        }
        prop_assert!(whole.contains(&last[0].head.page), "the page that was begun again is missing");
        // Whoever goes on there has all that was kept of pending pages.
        let from = usize::try_from(resumed).unwrap();
        let mut next = Assembler::default();
        assembled(&mut next, &messages[from..]);
        let kept = |of: &Assembler, page| -> Vec<(u32, Vec<u8>)> {
            let chunks = of.pending.get(page).map(|pending| &pending.chunks);
            chunks.into_iter().flatten().map(|(index, (_, bytes))| (*index, bytes.clone())).collect()
        };
        for page in assembler.pending.keys() {
            prop_assert_eq!(kept(&assembler, page), kept(&next, page));
        }
    }
}
