//! Tells systemd how the broker is (sd_notify); does nothing where nobody has asked for it.

use std::time::Duration;

use edge_mq::{Broker, LocalClient, LocalSubscription, Message};
#[cfg(unix)]
use sd_notify::NotifyState;
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};
use tracing::warn;

use super::mistakes::with_causes;

/// How often it says how many clients there are, if there is no watchdog that asks more often.
const STATUS_EACH: Duration = Duration::from_secs(10);
/// Begins with `$`, so that no wildcard of a client matches it.
const TOPIC: &str = "$watchdog/beat";

/// All listeners are open.
pub(crate) fn ready() {
    #[cfg(unix)]
    send(&[NotifyState::Ready]);
}

/// A reload begins; it ends with [`ready`].
pub(crate) fn reloading() {
    #[cfg(unix)]
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => warn!("there is no monotonic clock: {error}"),
    }
}

/// No more clients come in.
pub(crate) fn stopping() {
    #[cfg(unix)]
    send(&[NotifyState::Stopping]);
}

#[cfg(unix)]
fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!("systemd cannot be told how the broker is: {error}");
    }
}

/// Tells, as long as it is not dropped, that the broker answers, and what it does.
pub(crate) struct Watchdog {
    task: Option<JoinHandle<()>>,
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.task.iter().for_each(JoinHandle::abort);
    }
}

#[cfg(not(unix))]
impl Watchdog {
    pub(crate) async fn start(_: &Broker) -> Result<Watchdog, edge_mq::SubscribeError> {
        Ok(Watchdog { task: None })
    }
}

#[cfg(unix)]
impl Watchdog {
    pub(crate) async fn start(broker: &Broker) -> Result<Watchdog, edge_mq::SubscribeError> {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Ok(Watchdog { task: None });
        }
        // Twice as often as it has to be.
        let watched = sd_notify::watchdog_enabled().filter(|each| !each.is_zero());
        let watched = watched.map(|each| each / 2);
        let mut pulse = Pulse::new(broker.local()).await?;
        let broker = broker.clone();
        let task = tokio::spawn(async move {
            let each = watched.unwrap_or(STATUS_EACH);
            let mut turns = interval(each);
            loop {
                turns.tick().await;
                if !pulse.beats(each).await {
                    warn!("no message came through the broker within {each:?}");
                } else if watched.is_some() {
                    send(&[NotifyState::Status(&status(&broker)), NotifyState::Watchdog]);
                } else {
                    send(&[NotifyState::Status(&status(&broker))]);
                }
            }
        });
        Ok(Watchdog { task: Some(task) })
    }
}

fn status(broker: &Broker) -> String {
    let stats = broker.stats();
    format!(
        "{} clients connected, {} messages received, {} sent",
        stats.connections, stats.received, stats.sent
    )
}

/// A message that goes round through the broker.
struct Pulse {
    local: LocalClient,
    back: LocalSubscription,
    beats: u64,
}

impl Pulse {
    async fn new(local: LocalClient) -> Result<Pulse, edge_mq::SubscribeError> {
        let back = local.subscribe(TOPIC, 1).await?;
        Ok(Pulse { local, back, beats: 0 })
    }

    /// Whether it is back in time.
    async fn beats(&mut self, within: Duration) -> bool {
        self.beats += 1;
        let beat = self.beats.to_string();
        let topic = TOPIC.parse().expect("a topic");
        let round = async {
            if let Err(error) = self.local.publish(Message::new(topic, beat.clone())).await {
                warn!("the watchdog cannot publish: {}", with_causes(&error));
                return false;
            }
            loop {
                match self.back.recv().await {
                    // One that was late.
                    Some(message) if *message.payload() != beat => {}
                    came => return came.is_some(),
                }
            }
        };
        timeout(within, round).await.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn broker_that_does_not_answer_has_no_pulse() {
        let broker = Broker::builder().start().await.unwrap();
        let mut pulse = Pulse::new(broker.local()).await.unwrap();
        let for_ever = Duration::from_secs(60);
        assert!(pulse.beats(for_ever).await);
        assert!(pulse.beats(for_ever).await);
        broker.shutdown(for_ever).await.unwrap();
        assert!(!pulse.beats(for_ever).await);
    }

    #[tokio::test]
    async fn pulse_is_no_message_for_clients() {
        let broker = Broker::builder().start().await.unwrap();
        let mut all = broker.local().subscribe("#", 10).await.unwrap();
        let mut pulse = Pulse::new(broker.local()).await.unwrap();
        assert!(pulse.beats(Duration::from_secs(60)).await);
        broker.local().publish(Message::new("a".parse().unwrap(), "")).await.unwrap();
        // `#` brings topics of the broker to nobody, either.
        assert_eq!(all.recv().await.unwrap().topic().as_str(), "a");
    }
}
