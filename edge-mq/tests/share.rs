//! Shared subscriptions over sockets, with queues in a real database: what a member left there
//! reaches the next one.

#![cfg(feature = "db")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/device.rs"]
mod device;

use device::{Options, VERSIONS, got};
use edge_mq::{Broker, Message, QoS};

#[tokio::test]
async fn what_waits_on_disk_for_an_absent_member_reaches_the_one_who_comes() {
    for version in VERSIONS {
        let dir = tempfile::tempdir().unwrap();
        let db = edge_db::Db::open(dir.path()).unwrap();
        let broker = Broker::builder().db(&db).listen(([127, 0, 0, 1], 0).into());
        let broker = broker.start().await.unwrap();
        let addr = broker.local_addr().unwrap();
        let options = Options::new(version, "absent").kept();
        let mut absent = options.connect(addr).await;
        absent.subscribe("$share/crew/job/#", 2).await;
        absent.subscribe("own", 1).await;
        absent.disconnect().await;
        let local = broker.local();
        let publish = |topic: &str, payload: String| {
            let message = Message::new(topic.parse().unwrap(), payload);
            local.publish(message.qos(QoS::ExactlyOnce))
        };
        // More than two pages.
        let job = |number: usize| format!("{number:0>1000}");
        for number in 0..600 {
            publish("job/x", job(number)).await.unwrap();
            if number == 300 {
                publish("own", "stays".to_owned()).await.unwrap();
            }
        }
        let mut comes = Options::new(version, "comes").kept().connect(addr).await;
        comes.subscribe("$share/crew/job/#", 2).await;
        for number in 0..600 {
            assert_eq!(comes.message().await, got("job/x", &job(number), 2, false));
        }
        let mut absent = options.connect(addr).await;
        assert_eq!(absent.message().await, got("own", "stays", 1, false));
        absent.is_served().await;
    }
}
