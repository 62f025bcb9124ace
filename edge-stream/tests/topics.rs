//! From a topic to a topic: a stream over a topic is stored before it is acknowledged, named
//! levels are columns, and a sink publishes each row to the topic of its columns, over restarts.

#![cfg(feature = "mq")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/site.rs"]
mod site;

use std::path::Path;

use arrow::util::pretty::pretty_format_batches;
use edge_db::{Db, Entry};
use edge_mq::{Broker, LocalSubscription, QoS};
use edge_stream::Engine;
use gateway::Gateway;
use site::LONG;

const SCRIPT: &str = "
CREATE STREAM IF NOT EXISTS readings (line VARCHAR, device VARCHAR, temp DOUBLE)
  WITH (topic = 'plant/{line}/{device}/temp', format = 'json');
CREATE SINK IF NOT EXISTS alarms WITH (topic = 'alarm/{device}', format = 'json') AS
  SELECT device, line, temp, _client FROM readings WHERE temp > 80;
";

async fn start(dir: &Path) -> Gateway {
    Gateway::with(dir, SCRIPT).await
}

async fn alarms_of(gateway: &Gateway) -> LocalSubscription {
    gateway.broker.local().subscribe("alarm/#", 100).await.unwrap()
}

async fn next(alarms: &mut LocalSubscription) -> (String, String, Vec<(String, String)>) {
    let alarm = alarms.recv().await.unwrap();
    let payload = String::from_utf8(alarm.payload().to_vec()).unwrap();
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    (alarm.topic().as_str().to_owned(), payload, alarm.user_properties().map(owned).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn levels_become_columns_and_rows_become_numbered_messages() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = start(dir.path()).await;
    let mut alarms = alarms_of(&gateway).await;
    gateway.publish("plant/north/press/temp", r#"{"temp":81.5}"#).await;
    gateway.publish("plant/north/oven/temp", r#"{"temp":12}"#).await;
    gateway.publish("plant/south/oven/temp", r#"{"temp":99}"#).await;
    let numbered = |seq: &str| {
        vec![("stream".to_owned(), "alarms".to_owned()), ("seq".to_owned(), seq.to_owned())]
    };
    let press = r#"{"device":"press","line":"north","temp":81.5}"#.to_owned();
    assert_eq!(next(&mut alarms).await, ("alarm/press".to_owned(), press, numbered("0")));
    let oven = r#"{"device":"oven","line":"south","temp":99.0}"#.to_owned();
    assert_eq!(next(&mut alarms).await, ("alarm/oven".to_owned(), oven, numbered("1")));

    let answer = gateway.engine.sql("SELECT line, _topic, _qos FROM readings").await.unwrap();
    let answer = pretty_format_batches(&answer).unwrap().to_string();
    assert!(answer.contains("| south | plant/south/oven/temp  | 1    |"), "{answer}");
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_sink_wait_for_the_broker_and_are_published_once_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    start(dir.path()).await.end().await;
    {
        // The database alone: what comes into the Log now is a row, and waits in the sink's Log.
        let db = Db::open(dir.path()).unwrap();
        let engine = Engine::builder().db(&db).start().await.unwrap();
        let log = db.log("readings").unwrap();
        log.append(Entry::new(r#"{"temp":90}"#).key("plant/north/press/temp")).unwrap();
        engine.caught_up(LONG).await.unwrap();
        assert_eq!(db.log("alarms").unwrap().bounds().unwrap().end.get(), 1);
        engine.shutdown(LONG).await.unwrap();
        db.shutdown(LONG).unwrap();
    }
    let db = Db::open(dir.path()).unwrap();
    let broker = Broker::builder().db(&db).start().await.unwrap();
    let mut alarms = broker.local().subscribe("alarm/#", 100).await.unwrap();
    let engine = Engine::builder().db(&db).broker(&broker).start().await.unwrap();
    assert_eq!(next(&mut alarms).await.0, "alarm/press");
    engine.caught_up(LONG).await.unwrap();
    Gateway { db, broker, engine }.end().await;

    let gateway = start(dir.path()).await;
    let mut alarms = alarms_of(&gateway).await;
    gateway.publish("plant/north/oven/temp", r#"{"temp":91}"#).await;
    assert_eq!(next(&mut alarms).await.0, "alarm/oven", "the press was not published again");
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_whose_topic_cannot_be_goes_to_the_errors_of_the_sink() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = start(dir.path()).await;
    let sink = "CREATE SINK odd WITH (topic = 'alarm/{text}') AS
                SELECT text FROM texts";
    let stream = "CREATE STREAM texts (text VARCHAR) WITH (topic = 'texts');";
    gateway.engine.execute(&format!("{stream}{sink}")).await.unwrap();
    let mut alarms = alarms_of(&gateway).await;
    for text in ["null", r#""a/b""#, r##""#""##, r#""""#, r#""fine""#] {
        gateway.publish("texts", &format!(r#"{{"text":{text}}}"#)).await;
    }
    assert_eq!(next(&mut alarms).await.0, "alarm/fine");
    gateway.engine.caught_up(LONG).await.unwrap();
    let errors = gateway.db.log("odd_errors").unwrap().read(edge_db::Seq::ZERO, 10).unwrap();
    let reasons: Vec<_> = errors.iter().map(|error| error.header("reason").unwrap()).collect();
    assert_eq!(reasons.len(), 4);
    assert_eq!(reasons[1], b"a topic cannot have `a/b` as the level {text}");
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_larger_than_the_broker_takes_goes_to_the_errors_of_the_sink() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = start(dir.path()).await;
    let script = "CREATE STREAM texts (text VARCHAR) WITH (topic = 'texts');
                  CREATE SINK long WITH (topic = 'alarm/x') AS SELECT repeat(text, 1000000) AS t FROM texts;";
    gateway.engine.execute(script).await.unwrap();
    let mut alarms = alarms_of(&gateway).await;
    gateway.publish("texts", r#"{"text":"xx"}"#).await;
    gateway.publish("texts", r#"{"text":""}"#).await;
    assert_eq!(next(&mut alarms).await.1, r#"{"t":""}"#);
    gateway.engine.caught_up(LONG).await.unwrap();
    let errors = gateway.db.log("long_errors").unwrap().read(edge_db::Seq::ZERO, 10).unwrap();
    let reason = errors.iter().next().unwrap().header("reason").unwrap();
    let reason = String::from_utf8(reason.to_vec()).unwrap();
    assert!(errors.len() == 1 && reason.contains("is larger than 1048576"), "{reason}");
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_takes_no_log_of_others() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = start(dir.path()).await;
    gateway.publish("plant/north/press/temp", r#"{"temp":99}"#).await;
    let own = gateway.db.log("own").unwrap();
    own.append(Entry::new("x")).unwrap();
    let sink =
        |name: &str| format!("CREATE SINK {name} WITH (topic = 'x') AS SELECT temp FROM readings");
    gateway.engine.execute("CREATE STREAM s (temp DOUBLE) WITH (log = 'source')").await.unwrap();
    for name in ["own", "source"] {
        let error = gateway.engine.execute(&sink(name)).await.unwrap_err().to_string();
        assert!(error.contains("is a log that others write or read; use another name"), "{error}");
    }
    let reader = "CREATE STREAM published (temp DOUBLE) WITH (log = 'alarms')";
    gateway.engine.execute(reader).await.unwrap();
    let error = gateway.engine.execute("DROP SINK alarms").await.unwrap_err().to_string();
    assert_eq!(error, "line 1, column 1: `alarms` feeds `published`: drop them first");
    assert_eq!(own.bounds().unwrap().end.get(), 1);
    // A name is free again once it is dropped.
    gateway.engine.execute("DROP STREAM published; DROP SINK alarms").await.unwrap();
    gateway.engine.execute(&sink("alarms")).await.unwrap();
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_the_broker_cannot_store_is_not_created() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let broker = Broker::builder().start().await.unwrap();
    let engine = Engine::builder().db(&db).broker(&broker).start().await.unwrap();
    let error = engine.execute(SCRIPT).await.unwrap_err().to_string();
    assert!(error.contains("broker has no database"), "{error}");
    assert!(engine.sql("SELECT temp FROM readings").await.is_err());
    assert!(engine.jobs().is_empty());
    drop(engine);
    let engine = Engine::builder().db(&db).broker(&broker).start().await.unwrap();
    assert!(engine.jobs().is_empty());
    Gateway { db, broker, engine }.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_level_gets_another_name_and_its_topic_is_stored_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = start(dir.path()).await;
    for journal in [true, false] {
        let stream = |level: &str| {
            format!(
                "CREATE OR REPLACE STREAM visits_{journal} ({level} VARCHAR, n BIGINT)
                 WITH (topic = 'visits/{{{level}}}', journal = '{journal}')"
            )
        };
        gateway.run(&stream("hall")).await;
        gateway.publish("visits/north", r#"{"n":1}"#).await;
        gateway.run(&stream("line")).await;
        gateway.publish("visits/south", r#"{"n":2}"#).await;
        let rows = format!("SELECT line, n FROM visits_{journal} ORDER BY n");
        assert_eq!(gateway.ask(&rows).await, ["north 1", "south 2"], "{journal}");
        gateway.run(&format!("DROP STREAM visits_{journal}")).await;
    }
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_stream_is_not_journaled_any_more_and_its_log_stays() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = start(dir.path()).await;
    gateway.publish("plant/north/press/temp", r#"{"temp":1}"#).await;
    gateway.engine.execute("DROP SINK alarms; DROP STREAM readings").await.unwrap();
    gateway.publish("plant/north/press/temp", r#"{"temp":2}"#).await;
    assert_eq!(gateway.db.log("readings").unwrap().bounds().unwrap().end.get(), 1);
    assert!(gateway.broker.journal_rules().is_empty());
    assert!(gateway.engine.jobs().is_empty());
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_publishes_with_the_qos_and_in_the_format_that_it_says_and_retains() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = start(dir.path()).await;
    let sink = "CREATE SINK bare WITH (topic = 'bare/{device}', format = 'raw', qos = '2', \
                  retained = 'true') AS SELECT device, temp FROM readings;
                CREATE SINK lines WITH (topic = 'lines', format = 'csv', qos = '0') AS \
                  SELECT device, temp FROM readings;";
    gateway.engine.execute(sink).await.unwrap();
    gateway.publish("plant/north/press/temp", r#"{"temp":21.5}"#).await;
    gateway.publish("plant/north/press/temp", r#"{"temp":22.5}"#).await;
    let mut lines = gateway.broker.local().subscribe("lines", 100).await.unwrap();
    gateway.engine.caught_up(LONG).await.unwrap();
    // Who comes later gets the last one.
    let mut bare = gateway.broker.local().subscribe("bare/#", 100).await.unwrap();
    let retained = bare.recv().await.unwrap();
    assert_eq!((retained.topic().as_str(), &retained.payload()[..]), ("bare/press", &b"22.5"[..]));
    assert_eq!(retained.published_qos(), QoS::ExactlyOnce);
    gateway.publish("plant/north/oven/temp", r#"{"temp":1}"#).await;
    let line = loop {
        let line = lines.recv().await.unwrap();
        if &line.payload()[..] == b"oven,1.0" {
            break line;
        }
    };
    assert_eq!((line.published_qos(), line.is_retained()), (QoS::AtMostOnce, false));

    // A sink is not turned around while rows of it are on their way.
    let error = gateway
        .engine
        .execute("CREATE OR REPLACE SINK lines WITH (log = 'l') AS SELECT device FROM readings");
    let error = error.await.unwrap_err().to_string();
    assert!(error.contains("`lines` would send its rows elsewhere; drop it first"), "{error}");
    let error =
        gateway.engine.execute("CREATE SINK l WITH (log = 'lines') AS SELECT device FROM readings");
    let error = error.await.unwrap_err().to_string();
    assert!(error.contains("`lines` is a log that sink `lines` delivers"), "{error}");
    gateway.end().await;
}
