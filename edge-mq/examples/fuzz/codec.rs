//! Mutated packets through the decoder: each alone, and in streams, in one go and in pieces.

use bytes::BytesMut;
use edge_mq::packet::{DecodeError, Decoder, Packet, Version};

use crate::chance::Chance;
use crate::mutate::mutate;
use crate::packets;

/// The largest packet that the decoder takes here.
const LIMIT_BYTES: usize = 8 * 1024;
/// The largest piece that it is handed.
const PIECE_BYTES: usize = 64;
/// Packets to begin with; each batch has its own.
const BASES: usize = 256;
/// Packets of one stream at most.
const STREAM: usize = 8;

/// What became of the packets.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Handed to the decoder.
    pub(crate) handed: u64,
    /// Of these.
    pub(crate) mutated: u64,
    /// Came out, of packets alone and of streams.
    pub(crate) read: u64,
    /// Packets alone and streams that ended with an error.
    pub(crate) refused: u64,
}

/// Hands `count` packets to the decoder.
pub(crate) fn batch(chance: &mut Chance, count: usize, counts: &mut Counts) {
    for version in [Version::V311, Version::V5] {
        let base = |_| encoded(&packets::any(chance, version), version);
        let bases: Vec<_> = (0..BASES).map(base).collect();
        let mut left = count / 2;
        let mut stream = Vec::new();
        while left > 0 {
            stream.clear();
            let packets = left.min(1 + chance.below(STREAM));
            for _ in 0..packets {
                let mut packet = chance.pick(&bases).clone();
                if !chance.one_in(3) {
                    mutate(chance, &mut packet, &bases[left % BASES]);
                    counts.mutated += 1;
                }
                // Alone, as in its stream it may lie behind one that ends it.
                check(chance, version, &packet, counts);
                stream.extend_from_slice(&packet);
            }
            left -= packets;
            counts.handed += packets as u64;
            check(chance, version, &stream, counts);
        }
    }
}

pub(crate) fn encoded(packet: &Packet, version: Version) -> Vec<u8> {
    let mut out = BytesMut::new();
    packet.encode(version, &mut out);
    out.to_vec()
}

fn check(chance: &mut Chance, version: Version, stream: &[u8], counts: &mut Counts) {
    let mut decoder = match chance.one_in(4) {
        true => Decoder::accepting(LIMIT_BYTES),
        false => Decoder::new(version, LIMIT_BYTES),
    };
    let mut other = decoder.clone();
    let whole = in_one_go(&mut decoder, stream);
    let pieces = in_pieces(chance, &mut other, stream);
    assert_eq!(pieces, whole, "the pieces make a difference: {stream:?}");
    counts.read += whole.0.len() as u64;
    counts.refused += u64::from(whole.1.is_some());
    for packet in &whole.0 {
        let version = match packet {
            Packet::Connect(connect) => connect.version,
            _ => decoder.version().expect("it has decoded a packet"),
        };
        let again = encoded(packet, version);
        let back = in_one_go(&mut Decoder::new(version, usize::MAX), &again);
        assert_eq!(back, (vec![packet.clone()], None), "{packet:?} is another one once encoded");
    }
}

type Outcome = (Vec<Packet>, Option<DecodeError>);

fn in_one_go(decoder: &mut Decoder, stream: &[u8]) -> Outcome {
    let mut packets = Vec::new();
    let error = take_all(decoder, &mut BytesMut::from(stream), &mut packets).err();
    (packets, error)
}

fn take_all(
    decoder: &mut Decoder,
    buffer: &mut BytesMut,
    packets: &mut Vec<Packet>,
) -> Result<(), DecodeError> {
    while let Some(packet) = decoder.decode(buffer)? {
        packets.push(packet);
    }
    Ok(())
}

fn in_pieces(chance: &mut Chance, decoder: &mut Decoder, mut stream: &[u8]) -> Outcome {
    let mut buffer = BytesMut::new();
    let mut packets = Vec::new();
    while !stream.is_empty() {
        let (piece, rest) = stream.split_at(stream.len().min(1 + chance.below(PIECE_BYTES)));
        stream = rest;
        buffer.extend_from_slice(piece);
        if let Err(error) = take_all(decoder, &mut buffer, &mut packets) {
            return (packets, Some(error));
        }
        // Less than a packet is left, and the buffer did not grow for a length that it only claims.
        assert!(buffer.len() < LIMIT_BYTES, "{} bytes wait for the rest", buffer.len());
        let capacity = buffer.capacity();
        assert!(capacity <= 2 * (LIMIT_BYTES + PIECE_BYTES), "{capacity} bytes of buffer");
    }
    (packets, None)
}
