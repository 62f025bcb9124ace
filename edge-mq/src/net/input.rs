//! What comes out of one socket: bytes, and the packets in them.

use bytes::BytesMut;
use tokio::io::AsyncReadExt;

use super::stream::Stream;
use crate::packet::{Connect, DecodeError, Decoder, Packet};

/// What a read asks for at first.
const SMALL_READ_BYTES: usize = 2 * 1024;
/// What a read asks for when the client has much to say. More brings no more speed: the kernel
/// hands out about as much at once.
const LARGE_READ_BYTES: usize = 64 * 1024;

/// Packets of one turn: so long does one client keep the hub from the others, some 40 µs. A full read
/// of small messages has a thousand.
const TURN: usize = 256;

/// Why there is no packet.
pub(super) enum Lost {
    Decode(DecodeError),
    /// The client closed the connection, or the network did.
    Gone,
}

/// Bytes from the client and the packets in them.
pub(super) struct Input {
    pub(super) decoder: Decoder,
    buffer: BytesMut,
    pub(super) packets: Vec<Packet>,
    /// What the next read asks for; grows while reads are full.
    read_bytes: usize,
    /// Whether there is more: in the buffer, behind the packets of this turn, or in the system, as
    /// the last read brought all that it asked for.
    pub(super) has_more: bool,
    is_full: bool,
}

impl Input {
    pub(super) fn new(packet_bytes: usize) -> Input {
        let decoder = Decoder::accepting(packet_bytes);
        let (buffer, packets) = (BytesMut::new(), Vec::new());
        Input {
            decoder,
            buffer,
            packets,
            read_bytes: SMALL_READ_BYTES,
            has_more: false,
            is_full: false,
        }
    }

    /// The buffer, with room for the next read.
    pub(super) fn room(&mut self) -> &mut BytesMut {
        if self.buffer.capacity() == self.buffer.len() {
            self.buffer.reserve(self.read_bytes);
        }
        &mut self.buffer
    }

    pub(super) async fn connect(&mut self, stream: &mut Stream) -> Result<Connect, Lost> {
        match self.packet(stream).await? {
            Packet::Connect(connect) => Ok(*connect),
            // The decoder takes no other packet first.
            _ => Err(Lost::Gone),
        }
    }

    /// The next packet, alone.
    pub(super) async fn packet(&mut self, stream: &mut Stream) -> Result<Packet, Lost> {
        loop {
            if let Some(packet) = self.decoder.decode(&mut self.buffer).map_err(Lost::Decode)? {
                return Ok(packet);
            }
            match stream.read_buf(self.room()).await {
                Ok(0) | Err(_) => return Err(Lost::Gone),
                Ok(_) => {}
            }
        }
    }

    /// Nothing comes: keeps no memory for what may.
    pub(super) fn rest(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
            self.packets = Vec::new();
        }
    }

    /// Looks how much the last read brought.
    pub(super) fn measure(&mut self) {
        self.is_full = self.buffer.capacity() == self.buffer.len();
        let wanted = if self.is_full { self.read_bytes * 2 } else { self.read_bytes / 2 };
        self.read_bytes = wanted.clamp(SMALL_READ_BYTES, LARGE_READ_BYTES);
    }

    /// Takes out the packets of a turn, and those before the first bad one. Returns whether there may be
    /// more in the buffer.
    pub(super) fn decode_turn(&mut self) -> Result<bool, DecodeError> {
        self.has_more = true;
        while self.packets.len() < TURN {
            let Some(packet) = self.decoder.decode(&mut self.buffer)? else {
                self.has_more = self.is_full;
                return Ok(false);
            };
            self.packets.push(packet);
        }
        Ok(true)
    }
}
