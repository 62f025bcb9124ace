//! The log of the example `broker`: what goes where, and what a reload changes of it.

use std::net::SocketAddr;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn level_and_file_of_the_log_change_by_reload_and_its_format_does_not() {
    let settings = |log: &str| format!("[log]\n{log}\n[[listener]]\nport = 0\n");
    let folder = Folder::new(&settings("file = 'one'\nformat = 'json'"));
    let mut program = Program::start(&folder.settings());
    let told = |name: &str| fs::read_to_string(folder.path(name)).unwrap_or_default();
    let wait_for = async |name: &str, text: &str| {
        while !told(name).contains(text) {
            tokio::task::yield_now().await;
        }
    };
    wait_for("one", "listening").await;
    let one = told("one");
    let line = one.lines().find(|line| line.contains("listening")).unwrap();
    assert!(line.starts_with("{\"timestamp\":\"2") && line.ends_with('}'), "{line}");
    let (_, address) = line.split_once("\"address\":\"").unwrap();
    let address: SocketAddr = address.split('"').next().unwrap().parse().unwrap();

    // The old one is moved away, as for a rotation.
    fs::rename(folder.path("one"), folder.path("old")).unwrap();
    folder.write("broker.toml", &settings("file = 'one'\nlevel = 'warn'\nformat = 'text'"));
    program.signal("-HUP");
    wait_for("one", "a restart is needed for how [log] writes").await;
    let device = Options::new(Version::V5, "unheard").connect(address).await;
    device.disconnect().await;
    folder.write("broker.toml", &settings("level = 'info'"));
    program.signal("-HUP");
    program.says("reloaded");
    let device = Options::new(Version::V5, "heard").connect(address).await;
    device.disconnect().await;
    let line = program.says("client disconnected");
    assert!(line.contains("\"client_id\":\"heard\"") && line.starts_with('{'), "{line}");
    assert!(!told("one").contains("unheard") && !told("old").contains("unheard"));
}

#[tokio::test(flavor = "multi_thread")]
async fn journal_of_systemd_gets_lines_without_the_time() {
    let folder = Folder::new("[[listener]]\nport = 0");
    for (stream, has_time) in [("8:1", false), ("", true)] {
        let variables: &[_] = if has_time { &[] } else { &[("JOURNAL_STREAM", stream)] };
        let mut program = Program::start_with(&folder.settings(), variables);
        let line = program.says("listening address=");
        assert_eq!(line.starts_with("20"), has_time, "{line}");
        assert!(line.contains(" INFO "), "{line}");
    }
}
