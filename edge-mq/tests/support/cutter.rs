//! A link that is cut: a proxy that closes each connection after a number of bytes that its seed
//! gives, until it has cut often enough.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A running proxy. Dropping it cuts all.
pub(crate) struct Cutter {
    pub(crate) addr: SocketAddr,
    cuts: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Cutter {
    /// Leads to `target` and cuts `wanted` times, each time after `most` bytes at the latest.
    pub(crate) async fn start(target: SocketAddr, seed: u64, wanted: u64, most: u64) -> Cutter {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let cuts = Arc::new(AtomicU64::new(0));
        let cut = Arc::clone(&cuts);
        let task = tokio::spawn(async move {
            let mut random = seed | 1;
            loop {
                let (client, _) = listener.accept().await.unwrap();
                // xorshift64
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let is_done = cut.load(Ordering::SeqCst) >= wanted;
                let budget = if is_done { u64::MAX } else { random % most };
                // One after the other: the bridge has one connection at a time.
                forward(client, target, budget).await;
                if !is_done {
                    cut.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        Cutter { addr, cuts, task }
    }

    pub(crate) fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Forwards until so many bytes have passed, counted in both directions together.
async fn forward(mut client: TcpStream, target: SocketAddr, mut budget: u64) {
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    let (mut up, mut down) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    while budget > 0 {
        let written = tokio::select! {
            read = client.read(&mut up) => pass(read, &up, &mut server, &mut budget).await,
            read = server.read(&mut down) => pass(read, &down, &mut client, &mut budget).await,
        };
        if !written {
            return;
        }
    }
}

/// Whether the connection goes on.
async fn pass(
    read: std::io::Result<usize>,
    buffer: &[u8],
    to: &mut TcpStream,
    budget: &mut u64,
) -> bool {
    let Ok(read @ 1..) = read else { return false };
    let passes = read.min(usize::try_from(*budget).unwrap_or(usize::MAX));
    *budget -= passes as u64;
    to.write_all(&buffer[..passes]).await.is_ok()
}
