//! The listener: one task that accepts, keeps count of connections, and tells the hub the time.

#![allow(clippy::disallowed_methods, reason = "a shell: it brings the hub the time")]

mod connection;
mod input;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::shared::Shared;

/// How often delayed wills and the end of sessions are looked at; both count in whole seconds.
const TICK: Duration = Duration::from_secs(1);

/// How long accepting rests after it failed, most likely for want of file descriptors: trying at
/// once would only burn the processor until some connection ends.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` says so, then until the last connection and the last commit are through.
/// Dropping the future cuts all connections.
pub(crate) async fn serve(
    listener: Option<TcpListener>,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) {
    let mut tasks = JoinSet::new();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !*stop.borrow_and_update() {
        tokio::select! {
            stream = accept(listener.as_ref()) => {
                admit(stream, &shared, stop.clone(), &mut tasks);
            }
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
            _ = ticks.tick() => tick(&shared, &mut tasks),
            // The sender is gone when the broker was dropped, and then so is this task.
            _ = stop.changed() => {}
        }
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
    let mut committing = shared.committing();
    // The sender is in `shared`, so there is no error to wait for.
    drop(committing.wait_for(|count| *count == 0).await);
}

/// The next connection; never, without a listener.
async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

fn admit(
    stream: TcpStream,
    shared: &Arc<Shared>,
    stop: watch::Receiver<bool>,
    tasks: &mut JoinSet<()>,
) {
    if tasks.len() >= shared.limits.connections {
        shared.hub(|hub| hub.stats_mut().refused_connections += 1);
        return;
    }
    // Acknowledgements are small and somebody waits for them. A socket that refuses is slower.
    drop(stream.set_nodelay(true));
    tasks.spawn(connection::run(stream, Arc::clone(shared), stop));
}

fn tick(shared: &Arc<Shared>, tasks: &mut JoinSet<()>) {
    let ((), fx) = shared.decide(|hub, now, fx| hub.tick(now, fx));
    if !fx.journal.is_empty() {
        let commit = Arc::clone(shared).commit(fx.journal);
        // Nobody waits for the answer of a will; the hub counts one that was refused.
        tasks.spawn(async { drop(commit.await) });
    }
}
