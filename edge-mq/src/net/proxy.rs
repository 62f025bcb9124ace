//! The header with which a proxy says for whom it connects: PROXY protocol, version 2.
//!
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>, section 2.2.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt, copy, sink};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest addresses that are looked at: two of IPv6, with their ports.
const MOST_ADDRESSES: usize = 36;

/// Who connects, as the proxy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The proxy for itself, to see whether somebody is there.
    Proxy,
    Client(SocketAddr),
    /// Somebody whose address is none of IP.
    Unknown,
}

/// What the header is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidHeader {
    #[error("no header of PROXY protocol version 2")]
    Signature,
    #[error("PROXY header with version and command {0:#04x}")]
    Command(u8),
    #[error("PROXY header with address family {0:#04x}")]
    Family(u8),
    #[error("PROXY header is too short for its addresses")]
    Short,
}

/// What the fixed part says comes behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Announced {
    family: Family,
    len: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Proxy,
    V4,
    V6,
    Unknown,
}

/// Reads the header and nothing behind it.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Source> {
    let invalid = |error: InvalidHeader| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut fixed = [0; 16];
    stream.read_exact(&mut fixed).await?;
    let announced = Announced::parse(&fixed).map_err(invalid)?;
    let mut addresses = [0; MOST_ADDRESSES];
    let known = announced.family.len();
    stream.read_exact(&mut addresses[..known]).await?;
    // What else the proxy tells, as which certificate it saw, is not asked for.
    let rest = (announced.len - known) as u64;
    if copy(&mut stream.take(rest), &mut sink()).await? < rest {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(announced.family.source(&addresses))
}

impl Announced {
    fn parse(fixed: &[u8; 16]) -> Result<Announced, InvalidHeader> {
        let Some([command, family, high, low]) = fixed.strip_prefix(SIGNATURE) else {
            return Err(InvalidHeader::Signature);
        };
        let family = match (*command, *family) {
            (0x20, _) => Family::Proxy,
            (0x21, 0x11) => Family::V4,
            (0x21, 0x21) => Family::V6,
            // No family; a Unix socket.
            (0x21, 0x00 | 0x31) => Family::Unknown,
            (0x21, family) => return Err(InvalidHeader::Family(family)),
            (command, _) => return Err(InvalidHeader::Command(command)),
        };
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        if len < family.len() {
            return Err(InvalidHeader::Short);
        }
        Ok(Announced { family, len })
    }
}

impl Family {
    /// Bytes of its addresses that are looked at.
    fn len(self) -> usize {
        match self {
            Family::V4 => 12,
            Family::V6 => MOST_ADDRESSES,
            Family::Proxy | Family::Unknown => 0,
        }
    }

    /// Source and destination address, then source and destination port.
    fn source(self, addresses: &[u8; MOST_ADDRESSES]) -> Source {
        let port = |at: usize| u16::from_be_bytes([addresses[at], addresses[at + 1]]);
        match self {
            Family::Proxy => Source::Proxy,
            Family::Unknown => Source::Unknown,
            Family::V4 => {
                let ip = addresses.first_chunk::<4>().expect("36 bytes hold 4");
                Source::Client((Ipv4Addr::from(*ip), port(8)).into())
            }
            Family::V6 => {
                let ip = addresses.first_chunk::<16>().expect("36 bytes hold 16");
                Source::Client((Ipv6Addr::from(*ip), port(32)).into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header, and a byte behind it that has to stay.
    fn header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let len = u16::try_from(body.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family][..], &len, body, b"M"].concat()
    }

    fn read_all(bytes: &[u8]) -> Result<(Source, Vec<u8>), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut rest = bytes;
        let source = runtime.block_on(read(&mut rest)).map_err(|error| error.to_string())?;
        Ok((source, rest.to_vec()))
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 10, 0, 0, 1, 0xC0, 0, 7, 0x5B];

    fn v6() -> Vec<u8> {
        let (from, to): (Ipv6Addr, Ipv6Addr) =
            ("2001:db8::1".parse().unwrap(), "::1".parse().unwrap());
        [&from.octets()[..], &to.octets(), &[0xC0, 0, 7, 0x5B]].concat()
    }

    #[test]
    fn header_gives_the_source_and_nothing_behind_it_is_read() {
        let more = [&V4[..], b"\x04\0\x03\0\0\0", &[0xEE; 60_000]].concat();
        let cases = [
            ("IPv4", header(0x21, 0x11, &V4), Source::Client("192.0.2.1:49152".parse().unwrap())),
            (
                "IPv6",
                header(0x21, 0x21, &v6()),
                Source::Client("[2001:db8::1]:49152".parse().unwrap()),
            ),
            (
                "more behind the addresses",
                header(0x21, 0x11, &more),
                Source::Client("192.0.2.1:49152".parse().unwrap()),
            ),
            ("the proxy itself", header(0x20, 0x00, b""), Source::Proxy),
            ("the proxy itself, with addresses", header(0x20, 0x11, &V4), Source::Proxy),
            ("no family", header(0x21, 0x00, b"whatever"), Source::Unknown),
            ("Unix socket", header(0x21, 0x31, &[0; 216]), Source::Unknown),
        ];
        for (name, bytes, source) in cases {
            assert_eq!(read_all(&bytes), Ok((source, b"M".to_vec())), "{name}");
        }
    }

    #[test]
    fn what_is_no_header_is_an_error() {
        let cases = [
            ("version 1", b"PROXY TCP4 192.0.2.1 10.0.0.1 49152 1883\r\n".to_vec()),
            ("MQTT", b"\x10\x0E\0\x04MQTT\x05\x02\0\0\0\0\x01c".to_vec()),
            ("version 3", header(0x31, 0x11, &V4)),
            ("unknown command", header(0x22, 0x11, &V4)),
            ("datagrams", header(0x21, 0x12, &V4)),
            ("unknown family", header(0x21, 0x41, &V4)),
            ("IPv6 in the length of IPv4", header(0x21, 0x21, &V4)),
        ];
        for (name, bytes) in cases {
            assert!(read_all(&bytes).is_err(), "{name}");
        }
        let whole = header(0x21, 0x11, &[&V4[..], b"\x04\0\x03\0\0\0"].concat());
        for len in 0..whole.len() - 1 {
            assert!(read_all(&whole[..len]).is_err(), "{len} bytes of {}", whole.len());
        }
    }
}
