//! A device on a socket, in the bytes of MQTT 3.1.1.

use std::io::{Read, Write};
use std::net::TcpStream;

use edge_mq::Broker;

pub(crate) struct Device {
    stream: TcpStream,
}

impl Device {
    pub(crate) fn connect(broker: &Broker, client_id: &str) -> Device {
        let mut stream = TcpStream::connect(broker.local_addr().unwrap()).unwrap();
        stream.set_nodelay(true).unwrap();
        // A clean session, and a minute of keep alive.
        let mut body = b"\x00\x04MQTT\x04\x02\x00\x3c".to_vec();
        put_text(&mut body, client_id);
        stream.write_all(&packet(0x10, &body)).unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [0x20, 2, 0, 0]);
        Device { stream }
    }

    /// With QoS 1; returns when it is acknowledged.
    pub(crate) fn publish(&mut self, topic: &str, payload: &str) {
        let mut body = Vec::new();
        put_text(&mut body, topic);
        body.extend([0, 1]);
        body.extend(payload.as_bytes());
        self.stream.write_all(&packet(0x32, &body)).unwrap();
        let mut answer = [0; 4];
        self.stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [0x40, 2, 0, 1]);
    }
}

fn put_text(body: &mut Vec<u8>, text: &str) {
    body.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
    body.extend(text.as_bytes());
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let (mut packet, mut left) = (vec![first], body.len());
    loop {
        let low = u8::try_from(left % 128).unwrap();
        left /= 128;
        packet.push(if left == 0 { low } else { low | 128 });
        if left == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}
