//! rumqttc by each way into a broker with a database, in MQTT 3.1.1 and 5.0. `interop.rs` has the
//! same with clients that have to be installed.

#![cfg(all(feature = "db", feature = "tls", feature = "ws", unix))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/authority.rs"]
mod authority;
#[path = "support/device.rs"]
mod device;
#[path = "support/site.rs"]
mod site;

use device::{Options, Route, VERSIONS, Version, got};
use site::{Site, WAYS, Way};

fn route(site: &Site, way: Way) -> Route {
    let trusted = || site.authority.trusted((way == Way::MutualTls).then_some(&site.sensor));
    match way {
        Way::Tcp => site.addr().into(),
        Way::Tls | Way::MutualTls => Route::tls(site.addr(), trusted()),
        Way::WebSocket => Route::websocket(site.addr()),
        Way::WebSocketTls => Route::websocket_tls(site.addr(), trusted()),
        Way::Unix => Route::unix(&site.socket()),
    }
}

#[tokio::test]
async fn rumqttc_is_served_by_every_way_in() {
    for way in WAYS {
        for version in VERSIONS {
            println!("{way:?}, {version:?}");
            let site = Site::start(way).await;
            let route = route(&site, way);
            let mut device = Options::new(version, "device").connect(route.clone()).await;
            device.is_served().await;
            finds_what_is_retained(&route, version).await;
            leaves_a_will(&route, version).await;
            finds_its_session_again(&route, version).await;
        }
    }
}

async fn finds_what_is_retained(route: &Route, version: Version) {
    let mut writer = Options::new(version, "writer").connect(route.clone()).await;
    writer.publish("kept/lab", 1, true, "21").await;
    assert_eq!(writer.acknowledgement().await, Ok(()));
    let mut late = Options::new(version, "late").connect(route.clone()).await;
    late.subscribe("kept/#", 1).await;
    assert_eq!(late.message().await, got("kept/lab", "21", 1, true));
    writer.publish("kept/lab", 1, true, "").await;
    assert_eq!(writer.acknowledgement().await, Ok(()));
    let mut later = Options::new(version, "later").connect(route.clone()).await;
    later.subscribe("kept/#", 1).await;
    writer.publish("kept/end", 0, false, "live").await;
    assert_eq!(later.message().await, got("kept/end", "live", 0, false));
}

async fn leaves_a_will(route: &Route, version: Version) {
    let mut reader = Options::new(version, "reader").connect(route.clone()).await;
    reader.subscribe("will/#", 1).await;
    let polite = Options::new(version, "polite").will("will/polite", "gone");
    polite.connect(route.clone()).await.disconnect().await;
    let lost = Options::new(version, "lost").will("will/lost", "gone");
    drop(lost.connect(route.clone()).await);
    assert_eq!(reader.message().await, got("will/lost", "gone", 1, false));
}

async fn finds_its_session_again(route: &Route, version: Version) {
    let options = Options::new(version, "away").kept();
    let mut away = options.connect(route.clone()).await;
    assert!(!away.session_present);
    away.subscribe("queue/#", 2).await;
    away.disconnect().await;
    let mut writer = Options::new(version, "writer").connect(route.clone()).await;
    for (topic, qos) in [("queue/a", 1), ("queue/b", 2)] {
        writer.publish(topic, qos, false, "hi").await;
        assert_eq!(writer.acknowledgement().await, Ok(()));
    }
    let mut away = options.connect(route.clone()).await;
    assert!(away.session_present);
    assert_eq!(away.message().await, got("queue/a", "hi", 1, false));
    assert_eq!(away.message().await, got("queue/b", "hi", 2, false));
}
