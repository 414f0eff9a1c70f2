//! What goes wrong with an answer: a function of the seed and the request's number.

use jiff::Timestamp;

use super::Options;
use super::draw::Draws;
use super::http::head;

/// What goes wrong with one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing: the page, whole.
    None,
    /// An HTML page under this status.
    Status { code: u16, reason: &'static str },
    /// The body ends too early. `draw` says where; `chunked`: as chunks with no last one, else below its Content-Length.
    Cut { chunked: bool, draw: u64 },
    /// A pause, before the head or in the middle of the body.
    Stall { in_body: bool },
}

impl Fault {
    /// The fault of request number `request`.
    pub(super) fn of(options: &Options, request: u64) -> Self {
        let mut draws = Draws::new(options.seed, "fault", &[request]);
        let (status, cut, stall) =
            (draws.happens(options.errors), draws.happens(options.cut), draws.happens(options.stall));
        let coin = draws.happens(50.0);
        if status {
            let (code, reason) = if coin { (502, "Bad Gateway") } else { (504, "Gateway Time-out") };
            Self::Status { code, reason }
        } else if cut {
            Self::Cut { chunked: coin, draw: u64::from_le_bytes(draws.bytes()) }
        } else if stall {
            Self::Stall { in_body: coin }
        } else {
            Self::None
        }
    }
}

/// The body of a gateway's error answer.
pub(super) fn html(code: u16, reason: &str) -> String {
    format!(
        "<html>\r\n<head><title>{code} {reason}</title></head>\r\n<body>\r\n\
         <center><h1>{code} {reason}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    )
}

/// An answer whose body lacks at least its last byte.
pub(super) fn cut_response(body: &[u8], gzip: bool, chunked: bool, draw: u64, date: Timestamp) -> Vec<u8> {
    let length = u64::try_from(body.len()).unwrap_or(2).max(2);
    let kept = usize::try_from(1 + draw % (length - 1)).unwrap_or(1);
    let kept = body.get(..kept).unwrap_or_default();
    let framing = if chunked { "Transfer-Encoding: chunked".to_owned() } else { format!("Content-Length: {length}") };
    let mut response = head("200 OK", "application/json", &framing, gzip, date).into_bytes();
    if chunked {
        // A sound chunk, but never the empty one that ends a body.
        response.extend_from_slice(format!("{:x}\r\n", kept.len()).as_bytes());
        response.extend_from_slice(kept);
        response.extend_from_slice(b"\r\n");
    } else {
        response.extend_from_slice(kept);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_in_about_the_shares_asked_for_and_come_again() {
        let options = Options { errors: 20.0, cut: 10.0, stall: 10.0, ..Options::default() };
        let faults: Vec<_> = (0..4_000).map(|n| Fault::of(&options, n)).collect();
        assert_eq!(faults, (0..4_000).map(|n| Fault::of(&options, n)).collect::<Vec<_>>());
        let count = |wanted: fn(&Fault) -> bool| faults.iter().filter(|fault| wanted(fault)).count();
        // Of what an error leaves, a tenth is cut; of what that leaves, a tenth stalls.
        assert!((700..900).contains(&count(|f| matches!(f, Fault::Status { .. }))));
        assert!((340..460).contains(&count(|f| matches!(f, Fault::Status { code: 504, .. }))));
        assert!((260..380).contains(&count(|f| matches!(f, Fault::Cut { .. }))));
        assert!((110..210).contains(&count(|f| matches!(f, Fault::Cut { chunked: true, .. }))));
        assert!((230..350).contains(&count(|f| matches!(f, Fault::Stall { .. }))));
    }

    #[test]
    fn nothing_goes_wrong_unless_asked() {
        assert!((0..1_000).all(|n| Fault::of(&Options::default(), n) == Fault::None));
    }

    #[test]
    fn cut_answer_always_lacks_something_and_never_ends_properly() {
        for (body, draw) in [(&b"[]"[..], 0), (b"[]", 1), (b"[1,2,3]", 5), (b"[1,2,3]", 6), (b"[1,2,3]", u64::MAX)] {
            let plain = cut_response(body, false, false, draw, Timestamp::UNIX_EPOCH);
            assert!(String::from_utf8_lossy(&plain).contains(&format!("Content-Length: {}\r\n", body.len())));
            assert!(!plain.ends_with(b"]") && !plain.ends_with(b"\n"));
            let chunked = cut_response(body, false, true, draw, Timestamp::UNIX_EPOCH);
            assert!(!chunked.ends_with(b"]\r\n") && !chunked.ends_with(b"\n0\r\n\r\n"));
        }
    }
}
