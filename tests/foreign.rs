//! The gateway example with programs that we did not write: mosquitto's clients publish and
//! subscribe, DuckDB reads what landed. `.ci/run` installs both; see CONTRIBUTING.md.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/gateway.rs"]
mod gateway;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use gateway::Gateway;

/// Event times ten minutes apart and more: each but the last is in a closed window. They are past:
/// rows of tomorrow would be too far ahead to be taken.
const READINGS: [(&str, &str, &str); 6] = [
    ("mqttv311", "0", "2026-01-01T00:00:00"),
    ("mqttv311", "1", "2026-01-01T00:20:00"),
    ("mqttv311", "2", "2026-01-01T00:40:00"),
    ("mqttv5", "0", "2026-01-01T01:00:00"),
    ("mqttv5", "1", "2026-01-01T01:20:00"),
    ("mqttv5", "2", "2026-01-01T01:40:00"),
];

fn publish(port: u16, version: &str, qos: &str, payload: &str) {
    let port = port.to_string();
    let published = Command::new("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &port, "-V", version, "-q", qos])
        .args(["-t", "office/lab/climate", "-m", payload])
        .status();
    assert!(published.expect("mosquitto_pub is installed").success());
}

#[test]
fn mosquitto_clients_publish_and_get_the_alarm_and_duckdb_counts_what_landed() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(dir.path());
    // Into a pipe it would keep its lines to itself until it ends.
    let mut subscriber = Command::new("stdbuf")
        .args([
            "-oL",
            "mosquitto_sub",
            "-h",
            "127.0.0.1",
            "-p",
            &gateway.port.to_string(),
            "-t",
            "alarm/#",
            "-q",
            "1",
        ])
        .args(["-C", "6", "-W", "60", "-d", "-v"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("mosquitto_sub is installed");
    let mut lines = BufReader::new(subscriber.stdout.take().unwrap()).lines().map(Result::unwrap);
    // With -d it says when the subscription stands; an alarm before that would be missed.
    assert!(lines.any(|line| line.starts_with("Subscribed")), "mosquitto_sub did not subscribe");

    for (version, qos, time) in READINGS {
        let payload = format!(r#"{{"ts":"{time}","temperature_c":21.5,"co2_ppm":1200}}"#);
        publish(gateway.port, version, qos, &payload);
    }
    publish(gateway.port, "mqttv5", "1", "not json");
    let ahead = r#"{"ts":"9000-01-01T00:00:00","temperature_c":21.5,"co2_ppm":1200}"#;
    publish(gateway.port, "mqttv5", "1", ahead);
    let alarms = lines.filter(|line| line.starts_with("alarm/lab {")).count();
    assert!(subscriber.wait().unwrap().success());
    assert_eq!(alarms, 6);
    gateway.stop();

    let view = "SELECT count(*) AS minutes, sum(readings) AS readings FROM climate";
    assert!(gateway::sql(dir.path(), view).contains("| 5       | 5        |"));
    let errors = gateway::sql(dir.path(), "SELECT count(*) AS readings FROM readings");
    assert!(errors.contains("| 6        |"), "neither not JSON nor a clock ahead: {errors}");
    assert_eq!(duckdb(dir.path()), "8 8 7");
}

/// Rows, different `_seq`, and rows with a number in them, by a reader that is not ours.
fn duckdb(data: &std::path::Path) -> String {
    let query = "import duckdb, sys
print(*duckdb.sql('''
  SELECT count(*), count(DISTINCT _seq), count(TRY_CAST(value AS JSON)->>'$.co2_ppm')
  FROM read_parquet('cloud/readings/*/*.parquet', hive_partitioning = true)
  WHERE edge = 'gateway-1' ''').fetchall()[0])";
    let output = Command::new("python3").args(["-c", query]).current_dir(data).output();
    let output = output.expect("python3 is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
