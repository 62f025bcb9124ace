//! WebSocket frames (RFC 6455 section 5) as their bytes come and go, in pieces of any size.
//!
//! Nothing waits here for the end of a frame or message: MQTT packets do not keep to their borders
//! (MQTT 5.0 section 6), so a payload is passed on as it comes, and no frame is too large.

use bytes::Bytes;

/// The longest header of a client: two bytes, eight of length, four of mask.
const MOST_HEAD: usize = 14;

/// What a control frame carries at most (section 5.5).
const MOST_CONTROL: usize = 125;

const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;

/// A frame that a client must not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Violation {
    /// MQTT-6.0.0-1.
    #[error("WebSocket frame carries text, MQTT is binary")]
    Text,
    #[error("WebSocket frame breaks the rules of RFC 6455: {0}")]
    Frame(&'static str),
}

impl Violation {
    /// What the Close frame says (RFC 6455 section 7.4.1).
    pub(super) fn close_code(self) -> u16 {
        match self {
            Violation::Text => 1003,
            Violation::Frame(_) => 1002,
        }
    }
}

/// What a client wants an answer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    Pong(Vec<u8>),
    Close,
}

/// The frames of one client.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// Of a header that is not complete.
    head: [u8; MOST_HEAD],
    head_len: usize,
    /// The frame whose payload comes.
    open: Option<Frame>,
    /// Whether a message has begun whose last frame is not there yet.
    in_message: bool,
    /// Payload of a control frame that is not complete.
    control: Vec<u8>,
    is_closed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame {
    kind: Kind,
    is_final: bool,
    /// Payload that is still to come.
    left: u64,
    /// The mask, turned so that its first byte is for the next one of the payload.
    mask: [u8; 4],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Continuation,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Frames {
    /// Turns bytes of the socket into bytes of MQTT: moves these to the front, and returns how
    /// many they are. Of several pings only the last one asks for an answer (section 5.5.3).
    pub(super) fn decode(
        &mut self,
        bytes: &mut [u8],
        asked: &mut Option<Asked>,
    ) -> Result<usize, Violation> {
        let (mut at, mut kept) = (0, 0);
        while at < bytes.len() && !self.is_closed {
            match &mut self.open {
                None => {
                    self.head[self.head_len] = bytes[at];
                    self.head_len += 1;
                    at += 1;
                    self.begin()?;
                }
                Some(frame) => {
                    let rest = &mut bytes[at..];
                    let some = usize::try_from(frame.left).unwrap_or(usize::MAX).min(rest.len());
                    frame.unmask(&mut rest[..some]);
                    match frame.kind {
                        Kind::Binary | Kind::Continuation => {
                            bytes.copy_within(at..at + some, kept);
                            kept += some;
                        }
                        _ => self.control.extend_from_slice(&rest[..some]),
                    }
                    at += some;
                }
            }
            if self.open.is_some_and(|frame| frame.left == 0) {
                self.end(asked);
            }
        }
        Ok(kept)
    }

    /// Whether the client has closed; what comes behind is nothing.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Opens the frame, if its header is complete.
    fn begin(&mut self) -> Result<(), Violation> {
        let Some(frame) = Frame::parse(&self.head[..self.head_len])? else { return Ok(()) };
        match frame.kind {
            Kind::Binary if self.in_message => {
                return Err(Violation::Frame("message inside a message"));
            }
            Kind::Continuation if !self.in_message => {
                return Err(Violation::Frame("continuation of nothing"));
            }
            Kind::Binary | Kind::Continuation => self.in_message = !frame.is_final,
            _ => {}
        }
        self.head_len = 0;
        self.open = Some(frame);
        Ok(())
    }

    fn end(&mut self, asked: &mut Option<Asked>) {
        match self.open.take().map(|frame| frame.kind) {
            Some(Kind::Ping) => *asked = Some(Asked::Pong(std::mem::take(&mut self.control))),
            Some(Kind::Close) => {
                *asked = Some(Asked::Close);
                self.is_closed = true;
            }
            // Nobody asked for a pong of the client's.
            _ => self.control.clear(),
        }
    }
}

impl Frame {
    /// The frame that these bytes are the header of, if they are all of it.
    fn parse(head: &[u8]) -> Result<Option<Frame>, Violation> {
        let [first, second, rest @ ..] = head else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(Violation::Frame("reserved bits"));
        }
        if second & MASKED == 0 {
            return Err(Violation::Frame("client does not mask"));
        }
        let (kind, is_final) = (Kind::from_opcode(first & 0x0F)?, first & FINAL != 0);
        let short = second & 0x7F;
        if kind.is_control() && (!is_final || usize::from(short) > MOST_CONTROL) {
            return Err(Violation::Frame("control frame in pieces, or too large"));
        }
        let (left, mask) = match short {
            126 => {
                (rest.first_chunk().map(|len| u64::from(u16::from_be_bytes(*len))), rest.get(2..))
            }
            127 => (rest.first_chunk().map(|len| u64::from_be_bytes(*len)), rest.get(8..)),
            _ => (Some(u64::from(short)), Some(rest)),
        };
        let (Some(left), Some(Some(mask))) = (left, mask.map(<[u8]>::first_chunk)) else {
            return Ok(None);
        };
        let least = [(126, 126), (127, 0x1_0000)].into_iter().find(|(code, _)| *code == short);
        if least.is_some_and(|(_, least)| left < least) || left > i64::MAX.unsigned_abs() {
            return Err(Violation::Frame("length"));
        }
        Ok(Some(Frame { kind, is_final, left, mask: *mask }))
    }

    fn unmask(&mut self, bytes: &mut [u8]) {
        for (byte, at) in bytes.iter_mut().zip(0_usize..) {
            *byte ^= self.mask[at & 3];
        }
        self.mask.rotate_left(bytes.len() & 3);
        self.left -= bytes.len() as u64;
    }
}

impl Kind {
    fn from_opcode(opcode: u8) -> Result<Kind, Violation> {
        Ok(match opcode {
            0 => Kind::Continuation,
            1 => return Err(Violation::Text),
            2 => Kind::Binary,
            8 => Kind::Close,
            9 => Kind::Ping,
            10 => Kind::Pong,
            _ => return Err(Violation::Frame("unknown opcode")),
        })
    }

    fn is_control(self) -> bool {
        matches!(self, Kind::Close | Kind::Ping | Kind::Pong)
    }
}

/// The header of a frame of ours, as far as it is not written.
#[derive(Debug, Default)]
pub(super) struct Head {
    bytes: [u8; 10],
    at: usize,
    end: usize,
}

impl Head {
    /// Of a binary message in one frame.
    pub(super) fn binary(payload: usize) -> Head {
        let mut bytes = [0; 10];
        bytes[0] = FINAL | 2;
        let long = (payload as u64).to_be_bytes();
        let end = match payload {
            0..126 => {
                bytes[1] = long[7];
                2
            }
            126..0x1_0000 => {
                bytes[1] = 126;
                bytes[2..4].copy_from_slice(&long[6..]);
                4
            }
            _ => {
                bytes[1] = 127;
                bytes[2..].copy_from_slice(&long);
                10
            }
        };
        Head { bytes, at: 0, end }
    }

    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.at..self.end]
    }

    /// Takes out what was written of it; returns what was written behind it.
    pub(super) fn advance(&mut self, written: usize) -> usize {
        let own = written.min(self.end - self.at);
        self.at += own;
        written - own
    }
}

/// A whole frame that answers a ping.
pub(super) fn pong(payload: &[u8]) -> Bytes {
    control(10, payload)
}

/// A whole frame that closes, and says why.
pub(super) fn close(code: u16) -> Bytes {
    control(8, &code.to_be_bytes())
}

fn control(opcode: u8, payload: &[u8]) -> Bytes {
    let len = u8::try_from(payload.len()).expect("control frames carry 125 bytes at most");
    [&[FINAL | opcode, len], payload].concat().into()
}

#[cfg(test)]
mod tests;
