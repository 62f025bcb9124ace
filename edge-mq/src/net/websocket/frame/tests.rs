//! Frames by tungstenite, which we did not write, in pieces of any size.

use proptest::prelude::*;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame as Theirs, FrameHeader};

use super::*;

/// As a client sends it.
fn bytes(mut frame: Theirs, mask: [u8; 4]) -> Vec<u8> {
    frame.header_mut().mask = Some(mask);
    let mut bytes = Vec::new();
    frame.format(&mut bytes).unwrap();
    bytes
}

fn data(opcode: Data, is_final: bool, payload: &[u8]) -> Vec<u8> {
    bytes(Theirs::message(payload.to_vec(), OpCode::Data(opcode), is_final), [1, 2, 3, 4])
}

fn ping(payload: &[u8]) -> Vec<u8> {
    bytes(Theirs::ping(payload.to_vec()), [5, 6, 7, 8])
}

/// What all pieces give, together.
fn decode(frames: &mut Frames, bytes: &[u8], piece: usize) -> Result<Vec<u8>, Violation> {
    decode_asking(frames, bytes, piece, &mut None)
}

fn decode_asking(
    frames: &mut Frames,
    bytes: &[u8],
    piece: usize,
    asked: &mut Option<Asked>,
) -> Result<Vec<u8>, Violation> {
    let mut all = Vec::new();
    for piece in bytes.chunks(piece) {
        let mut piece = piece.to_vec();
        let kept = frames.decode(&mut piece, asked)?;
        all.extend_from_slice(&piece[..kept]);
    }
    Ok(all)
}

#[test]
fn frames_of_each_length_come_out_as_they_went_in() {
    for len in [0, 1, 125, 126, 127, 65_535, 65_536, 200_000] {
        let payload: Vec<u8> = (0..len).map(|at: u32| at.to_le_bytes()[0]).collect();
        let frame = data(Data::Binary, true, &payload);
        for piece in [1, 3, 1000, frame.len()] {
            let taken = decode(&mut Frames::default(), &frame, piece);
            assert_eq!(taken, Ok(payload.clone()), "{len} bytes in pieces of {piece}");
        }
    }
}

#[test]
fn heads_of_ours_say_what_is_behind_them() {
    for len in [0, 1, 125, 126, 127, 65_535, 65_536, 200_000] {
        let head = Head::binary(len);
        let mut cursor = std::io::Cursor::new(head.rest());
        let (header, payload) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
        assert_eq!((payload, cursor.position()), (len as u64, head.rest().len() as u64));
        assert_eq!((header.opcode, header.is_final), (OpCode::Data(Data::Binary), true));
        assert_eq!(header.mask, None);
    }
    let mut head = Head::binary(1000);
    assert_eq!((head.advance(3), head.rest().len()), (0, 1));
    assert_eq!((head.advance(6), head.rest().len()), (5, 0));
}

#[test]
fn last_ping_wants_its_pong_and_pongs_want_nothing() {
    let pong = bytes(Theirs::pong(b"for nothing".to_vec()), [0; 4]);
    let all = [ping(b"one"), pong, ping(b"two"), data(Data::Binary, true, b"x")].concat();
    for piece in [1, 7, all.len()] {
        let mut asked = None;
        let taken = decode_asking(&mut Frames::default(), &all, piece, &mut asked);
        assert_eq!((taken, asked), (Ok(b"x".to_vec()), Some(Asked::Pong(b"two".to_vec()))));
    }
}

#[test]
fn nothing_counts_behind_a_close() {
    let close = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    let close = bytes(Theirs::close(Some(close)), [9; 4]);
    let all = [data(Data::Binary, true, b"x"), close, vec![0xFF; 100]].concat();
    let (mut frames, mut asked) = (Frames::default(), None);
    let taken = decode_asking(&mut frames, &all, 1, &mut asked);
    assert_eq!((taken, asked), (Ok(b"x".to_vec()), Some(Asked::Close)));
    assert!(frames.is_closed());
}

#[test]
fn what_a_client_must_not_send_is_refused() {
    let mut unmasked = Vec::new();
    let frame = Theirs::message(b"x".to_vec(), OpCode::Data(Data::Binary), true);
    frame.format(&mut unmasked).unwrap();
    let first = data(Data::Binary, false, b"x");
    let cases: [(&str, Vec<u8>); 11] = [
        ("MQTT-6.0.0-1: text", data(Data::Text, true, b"x")),
        ("5.1: no mask", unmasked),
        ("5.2: reserved bit", b"\xC2\x81\0\0\0\0x".to_vec()),
        ("5.2: reserved opcode", b"\x83\x81\0\0\0\0x".to_vec()),
        ("5.2: reserved control opcode", b"\x8B\x80\0\0\0\0".to_vec()),
        ("5.2: length in more bytes than it needs", b"\x82\xFE\0\x7D\0\0\0\0".to_vec()),
        ("5.2: long length, the same", b"\x82\xFF\0\0\0\0\0\0\xFF\xFF\0\0\0\0".to_vec()),
        ("5.2: length beyond 63 bits", b"\x82\xFF\x80\0\0\0\0\0\0\0\0\0\0\0".to_vec()),
        ("5.4: continuation of nothing", data(Data::Continue, true, b"x")),
        ("5.4: message in a message", [first.clone(), first].concat()),
        ("5.5: ping in pieces", b"\x09\x80\0\0\0\0".to_vec()),
    ];
    for (name, bytes) in cases {
        assert!(decode(&mut Frames::default(), &bytes, 1).is_err(), "{name}");
    }
    let large = b"\x89\xFE\0\x7E\0\0\0\0";
    assert!(decode(&mut Frames::default(), large, 1).is_err(), "5.5: ping of 126 bytes");
    let text = decode(&mut Frames::default(), &data(Data::Text, true, b""), 1);
    assert_eq!(text.unwrap_err().close_code(), 1003);
}

#[derive(Debug, Clone)]
enum Sent {
    /// The payloads of the frames of one message.
    Message(Vec<Vec<u8>>),
    Ping(Vec<u8>),
}

fn sent() -> impl Strategy<Value = Sent> {
    let payload = || prop::collection::vec(any::<u8>(), 0..300);
    prop_oneof![
        prop::collection::vec(payload(), 1..4).prop_map(Sent::Message),
        prop::collection::vec(any::<u8>(), 0..126).prop_map(Sent::Ping),
    ]
}

fn encode(sent: &Sent, bytes: &mut Vec<u8>, payload: &mut Vec<u8>) {
    match sent {
        Sent::Ping(body) => bytes.extend(ping(body)),
        Sent::Message(frames) => {
            for (at, frame) in frames.iter().enumerate() {
                let opcode = if at == 0 { Data::Binary } else { Data::Continue };
                bytes.extend(data(opcode, at + 1 == frames.len(), frame));
                // A control frame may come in between.
                bytes.extend(ping(b"between"));
                payload.extend_from_slice(frame);
            }
        }
    }
}

proptest! {
    #[test]
    fn messages_come_out_whole_however_they_are_cut(
        all in prop::collection::vec(sent(), 0..10),
        piece in 1..400_usize,
    ) {
        let (mut bytes, mut payload) = (Vec::new(), Vec::new());
        all.iter().for_each(|sent| encode(sent, &mut bytes, &mut payload));
        prop_assert_eq!(decode(&mut Frames::default(), &bytes, piece), Ok(payload));
    }

    #[test]
    fn garbage_is_an_error_or_nothing(bytes in prop::collection::vec(any::<u8>(), 0..300), piece in 1..50_usize) {
        // More cannot come out than went in.
        if let Ok(taken) = decode(&mut Frames::default(), &bytes, piece) {
            prop_assert!(taken.len() <= bytes.len());
        }
    }
}
